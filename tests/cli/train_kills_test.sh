#!/usr/bin/env bash
# kill -9 at random moments of a training: begun again each time, it ends in the bits of one never disturbed.
# LORSA_KILLS sets how many (20), LORSA_SEED their moments.
. "$(dirname "$0")/harness.sh"

kills=${LORSA_KILLS:-20}
RANDOM=${LORSA_SEED:-5}
cat >cache.yaml <<YAML
layers: [1]
model:  {path: $golden/model}
data:   {files: [$golden/corpus.jsonl], context_length: 16, holdout_fraction: 0.2}
out:    {path: cache, dtype: float32}
run:    {device: cpu, batch_sequences: 4, threads: 1}
YAML
run 0 lorsa-cache extract cache.yaml --quiet
heads=$(grep -oE '"num_attention_heads": [0-9]+' "$golden/model/config.json" | grep -oE '[0-9]+')
qk=$(grep -oE '"head_dim": [0-9]+' "$golden/model/config.json" | grep -oE '[0-9]+')
cat >train.yaml <<YAML
run:    {out: run, device: cpu, threads: 1}
data:   {cache: cache/layer-1, batch_sequences: 4, reader_threads: 2}
model:  {num_ov_heads: $((heads * 64)), num_qk_heads: $((heads * 8)), d_qk: $qk, top_k: 8, num_virtual_keys: 2}
init:   {qk: mhsa, ov: active_subspace, norm_search: true}
train:  {tokens: 160k, learning_rate: 1.0e-2, initial_k: 32, k_anneal_tokens: 40k, aux_k: 4, dead_after_tokens: 5k}
checkpoint: {every_tokens: 6k, keep: 2}
log:    {every_tokens: 2k}
YAML

begin "an undisturbed run"
start=$(date +%s%N)
run 0 lorsa-train train.yaml --set run.out=whole --quiet
whole_ms=$((($(date +%s%N) - start) / 1000000))

begin "kill -9"
landed=0
resumed=0
sessions=0
timeless() { sed -E 's/"(tokens_per_s|data_wait_s|model_s|communication_s|optimizer_s|elapsed_s)":[^,}]*,?//g' "$1"; }
check_complete() {
  last="the undisturbed and the killed run"
  holds cmp whole/final/model.safetensors run/final/model.safetensors
  timeless whole/metrics.jsonl >whole.metrics
  timeless run/metrics.jsonl >run.metrics
  holds cmp whole.metrics run.metrics
  rm -r run
}
for _ in $(seq $((kills * 20))); do
  [ "$landed" -lt "$kills" ] || break
  sessions=$((sessions + 1))
  [ -z "$(ls run/checkpoints 2>/dev/null)" ] || resumed=$((resumed + 1))
  lorsa-train train.yaml --quiet >out 2>err </dev/null &
  child=$!
  sleep "$(awk -v r="$RANDOM" -v ms="$whole_ms" 'BEGIN { print r / 32768 * ms * 0.7 / 1000 }')"
  kill -KILL "$child" 2>/dev/null
  wait "$child" 2>/dev/null
  code=$?
  last="lorsa-train, perhaps killed"
  holds test "$code" -eq 0 -o "$code" -eq 137
  if [ "$code" -eq 137 ]; then
    landed=$((landed + 1))
  else
    check_complete
  fi
done
holds test "$landed" -eq "$kills"
holds test "$resumed" -ge $((kills / 2))
run 0 lorsa-train train.yaml --quiet
check_complete
echo "$landed kills in $sessions sessions, $resumed of them resumed; $whole_ms ms undisturbed"
finish
