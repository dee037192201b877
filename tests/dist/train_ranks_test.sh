#!/usr/bin/env bash
# Training by several ranks: equal to one rank, goes on at another number of them, and survives the loss of one.
. "$(dirname "$0")/mpirun.sh"
. "$LORSA_SOURCE/tests/cli/harness.sh"

python=$LORSA_SOURCE/.venv/bin/python
golden=$LORSA_SOURCE/tests/golden/collect
compare() { "$python" "$LORSA_SOURCE/tests/dist/compare_runs.py" "$@"; }
for copy in $(seq 8); do cat "$golden/corpus.jsonl"; done >corpus.jsonl
cat >cache.yaml <<YAML
layers: [1]
model:  {path: $golden/model}
data:   {files: [corpus.jsonl], context_length: 16, holdout_fraction: 0.2}
out:    {path: cache, dtype: float32}
run:    {device: cpu, batch_sequences: 4, threads: 1}
YAML
run 0 lorsa-cache extract cache.yaml --quiet
heads=$(grep -oE '"num_attention_heads": [0-9]+' "$golden/model/config.json" | grep -oE '[0-9]+')
qk=$(grep -oE '"head_dim": [0-9]+' "$golden/model/config.json" | grep -oE '[0-9]+')
steps=50
cat >train.yaml <<YAML
run:    {out: one, device: cpu, threads: 1, rank_timeout_s: 5}
data:   {cache: cache/layer-1, batch_sequences: 8}
model:  {num_ov_heads: $((heads * 8)), num_qk_heads: $heads, d_qk: $qk, top_k: 4}
init:   {qk: mhsa, ov: active_subspace, norm_search: true}
train:  {tokens: $((steps * 8 * 16)), learning_rate: 1.0e-3, initial_k: 8, k_anneal_tokens: 1280}
checkpoint: {every_tokens: 1280, keep: 2}
log:    {every_tokens: 1280}
YAML

begin "as many ranks as you like"
run 0 lorsa-train train.yaml
for ranks in 2 4; do
  run 0 start_ranks "$ranks" lorsa-train train.yaml --set "run.out=of$ranks"
  out_has "^trained: $((steps * 8 * 16)) tokens"
  holds test "$(grep -c '^trained' out)" -eq 1
  run 0 compare "of$ranks" one 1e-5
  cat out
done

begin "micro-batches and AuxK on ranks"
extra=(--set train.aux_k=3 --set train.dead_after_tokens=256 --set train.optimizer=adamw --set train.weight_decay=0.01)
run 0 lorsa-train train.yaml "${extra[@]}" --set run.out=aux-one
run 0 start_ranks 2 lorsa-train train.yaml "${extra[@]}" --set run.out=aux-two --set train.micro_batch_sequences=2
run 0 compare aux-two aux-one 1e-5
cat out

begin "a batch that cannot be split"
run 2 start_ranks 3 lorsa-train train.yaml --set run.out=three
err_has "data.batch_sequences = 8 cannot be split over 3 ranks"
holds test ! -e three

begin "a run goes on with another number of ranks"
run 0 start_ranks 4 lorsa-train train.yaml --set run.out=changed --set train.tokens=2560
run 0 start_ranks 2 lorsa-train train.yaml --set run.out=changed --set train.tokens=3840
run 0 lorsa-train train.yaml --set run.out=changed
run 0 lorsa-train train.yaml --set run.out=alone --set train.tokens=2560
run 0 lorsa-train train.yaml --set run.out=alone --set train.tokens=3840
run 0 lorsa-train train.yaml --set run.out=alone
run 0 compare changed alone 1e-5

begin "a signal stops all ranks with a checkpoint"
start_ranks 2 lorsa-train train.yaml --set run.out=stopped --set train.tokens=4M --quiet >out 2>err &
mpirun_pid=$!
for _ in $(seq 200); do [ -e stopped/metrics.jsonl ] && break; sleep 0.1; done
pkill -TERM -f "lorsa-train train.yaml --set run.out=stopped" -n
wait "$mpirun_pid"
holds test $? -eq 75
holds test -n "$(ls stopped/checkpoints)"

begin "kill -9 of one of four"
start_ranks 4 lorsa-train train.yaml --set run.out=lost --set train.tokens=4M --quiet >out 2>err &
mpirun_pid=$!
for _ in $(seq 200); do [ "$(ls lost/checkpoints 2>/dev/null | grep -vc tmp)" -ge 2 ] && break; sleep 0.1; done
victim=$(pgrep -f "^[^ ]*lorsa-train train.yaml --set run.out=lost" | tail -n 1)
killed=$SECONDS
kill -KILL "$victim"
wait "$mpirun_pid"
code=$?
holds test "$code" -ne 0
holds test $((SECONDS - killed)) -le 15
last="mpirun of four ranks, one killed"
err_or_out() { cat out err | grep -qE "$1"; }
holds err_or_out 'process rank [0-3] .*exited on signal 9|rank [0-3] did not arrive'
tokens=$(ls lost/checkpoints | grep -v tmp | tail -n 1)
tokens=$((10#${tokens#tokens-} + 1280))
run 0 start_ranks 4 lorsa-train train.yaml --set run.out=lost --set "train.tokens=$tokens"
out_has "^trained: $tokens tokens"

finish
