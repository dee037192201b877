#!/usr/bin/env bash
# kill -9 at random moments of a sweep: begun again each time, it ends in the files of one never disturbed.
# LORSA_KILLS sets how many (10), LORSA_SEED their moments.
. "$(dirname "$0")/harness.sh"

kills=${LORSA_KILLS:-10}
RANDOM=${LORSA_SEED:-7}
tiny_configs 160k
cat >>train.yaml <<YAML
checkpoint: {every_tokens: 10k, keep: 2}
log:    {every_tokens: 10k}
YAML
cat >sweep.yaml <<YAML
sweep:
  out: killed
  title: Kills
  cache: cache.yaml
  train: train.yaml
  together: 2
  axes:
    - "model.kind=[lorsa, sae]; model.d_qk=[8, 0]; model.num_qk_heads=[6, 0]"
    - "run.seed=[0, 1]"
measure: {pattern_rows: 2}
page: {fits: ["fvu against parameters by model.kind"]}
YAML

begin "an undisturbed sweep"
start=$(date +%s%N)
run 0 lorsa-sweep sweep.yaml --set sweep.out=whole --quiet
whole_ms=$((($(date +%s%N) - start) / 1000000))
holds test "$(wc -l <whole/table.csv)" -eq 5

begin "kill -9"
landed=0
continued=0
sessions=0
completed=0
check_complete() {
  last="the undisturbed and the killed sweep"
  holds cmp whole/table.csv killed/table.csv
  holds cmp whole/results.json killed/results.json
  for run in whole/runs/*; do
    holds cmp "$run/final/model.safetensors" "killed/runs/$(basename "$run")/final/model.safetensors"
    holds test ! -e "killed/runs/$(basename "$run")/checkpoints"
  done
  completed=$((completed + 1))
  rm -r killed
}
for _ in $(seq $((kills * 20))); do
  [ "$landed" -lt "$kills" ] || break
  sessions=$((sessions + 1))
  [ ! -e killed/runs ] || continued=$((continued + 1))
  lorsa-sweep sweep.yaml --quiet >out 2>err </dev/null &
  child=$!
  sleep "$(awk -v r="$RANDOM" -v ms="$whole_ms" 'BEGIN { print r / 32768 * ms * 0.7 / 1000 }')"
  kill -KILL "$child" 2>/dev/null
  wait "$child" 2>/dev/null
  code=$?
  last="lorsa-sweep, perhaps killed"
  holds test "$code" -eq 0 -o "$code" -eq 137
  if [ "$code" -eq 137 ]; then
    landed=$((landed + 1))
  elif [ "$code" -eq 0 ]; then
    check_complete
  fi
done
holds test "$landed" -eq "$kills"
holds test "$continued" -ge $((kills / 2))
run 0 lorsa-sweep sweep.yaml --quiet
check_complete
echo "$landed kills in $sessions sessions, $continued of them continued, $completed sweeps; $whole_ms ms undisturbed"
finish
