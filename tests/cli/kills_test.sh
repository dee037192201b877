#!/usr/bin/env bash
# kill -9 at random moments: an extraction that is begun again ends in the bytes of one never disturbed.
# LORSA_KILLS sets how many (20), LORSA_SEED their moments.
. "$(dirname "$0")/harness.sh"

kills=${LORSA_KILLS:-20}
RANDOM=${LORSA_SEED:-4}
python3 - "$golden/corpus.jsonl" >corpus.jsonl <<'PY'
import sys
sys.stdout.write(open(sys.argv[1], encoding="utf-8").read() * 60)
PY
cat >config.yaml <<YAML
layers: [0, 2]
model:  {path: $golden/model}
data:   {files: [corpus.jsonl], context_length: 16, holdout_fraction: 0.2}
out:    {path: cache, dtype: bfloat16, shard_bytes: 64KiB}
run:    {device: cpu, batch_sequences: 4, threads: 1}
YAML

begin "an undisturbed run"
start=$(date +%s%N)
run 0 lorsa-cache extract config.yaml --set out.path=whole --quiet
whole_ms=$((($(date +%s%N) - start) / 1000000))
shards=$(find whole/layer-2 -name 'shard-*.h5' | wc -l)
holds test "$shards" -ge 20

begin "kill -9"
landed=0      # kills of a running extraction
in_the_middle=0  # of them, with some but not all shards finished
completed=0
check_complete() {
  last="diff of the undisturbed and the killed caches"
  holds diff -r whole cache
  run 0 lorsa-cache verify cache --quiet
  completed=$((completed + 1))
  rm -r cache
}
for _ in $(seq $((kills * 20))); do
  [ "$landed" -lt "$kills" ] || break
  lorsa-cache extract config.yaml --quiet >out 2>err </dev/null &
  child=$!
  sleep "$(awk -v r="$RANDOM" -v ms="$whole_ms" 'BEGIN { print r / 32768 * ms * 0.9 / 1000 }')"
  kill -KILL "$child" 2>/dev/null
  wait "$child" 2>/dev/null
  code=$?
  last="lorsa-cache extract, perhaps killed"
  holds test "$code" -eq 0 -o "$code" -eq 137
  if [ "$code" -eq 137 ]; then
    landed=$((landed + 1))
    finished=$(find cache -name '*.done' 2>/dev/null | wc -l)
    [ "$finished" -eq 0 ] || in_the_middle=$((in_the_middle + 1))
  else
    check_complete
  fi
done
holds test "$landed" -eq "$kills"
holds test "$in_the_middle" -ge $((kills / 4))
run 0 lorsa-cache extract config.yaml --quiet
check_complete
echo "$landed kills, $in_the_middle with finished shards, $completed caches completed; $shards shards, $whole_ms ms undisturbed"
finish
