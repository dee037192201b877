#!/usr/bin/env bash
# lorsa-train and lorsa-eval from outside: what a user types, reads and gets.
. "$(dirname "$0")/harness.sh"

tiny_configs 640
begin "a cache to train on"
run 0 lorsa-cache extract cache.yaml --quiet
width=$(lorsa-cache info cache/layer-1 --json | grep -oE '"d_model": [0-9]+' | grep -oE '[0-9]+')
heads=$(grep -oE '"num_attention_heads": [0-9]+' "$golden/model/config.json" | grep -oE '[0-9]+')
qk=$(grep -oE '"head_dim": [0-9]+' "$golden/model/config.json" | grep -oE '[0-9]+')
holds test -n "$width" -a -n "$heads" -a -n "$qk"
cat >train.yaml <<YAML
run:    {out: run, device: cpu, threads: 1}
data:   {cache: cache/layer-1, batch_sequences: 2}
model:  {num_ov_heads: $((heads * 8)), num_qk_heads: $heads, d_qk: $qk, top_k: 4}
init:   {qk: mhsa, ov: active_subspace, norm_search: true}
train:  {tokens: 640, learning_rate: 1.0e-2, initial_k: 8, k_anneal_tokens: 128}
checkpoint: {every_tokens: 128, keep: 2}
log:    {every_tokens: 64}
YAML

begin "the command line"
run 2 lorsa-train
err_has "lorsa-train needs CONFIG.yaml"
run 0 lorsa-train --help
out_has "train.learning_rate|learning_rate: number"
run 2 lorsa-train train.yaml --fast
err_has "--fast"
run 2 lorsa-eval
err_has "lorsa-eval needs CHECKPOINT and --cache"
run 2 lorsa-eval run/final
err_has "lorsa-eval needs --cache"

begin "the configuration"
run 4 lorsa-train absent.yaml
err_has "absent.yaml"
sed 's/top_k/topk/' train.yaml >unknown.yaml
run 2 lorsa-train unknown.yaml
err_has "unknown.yaml:3:[0-9]+: .*topk.*top_k"
err_lines 1
sed 's/keep: 2/keep: 2, keep: 3/' train.yaml >duplicate.yaml
run 2 lorsa-train duplicate.yaml
err_has "duplicate.yaml:6:[0-9]+: .*keep"
sed 's/1.0e-2/fast/' train.yaml >typed.yaml
run 2 lorsa-train typed.yaml
err_has "typed.yaml:5:[0-9]+: .*learning_rate.*fast"
run 2 lorsa-train train.yaml --set model.top_k=4000
err_has "model.top_k = 4000 exceeds model.num_ov_heads"
run 2 lorsa-train train.yaml --set model.d_qk=$((qk + 2))
err_has "d_qk"
run 5 lorsa-train train.yaml --set run.device=cuda:99
err_has "cuda:99|CUDA"
run 4 lorsa-train train.yaml --set data.cache=nowhere
err_has "nowhere"
holds test ! -e run

begin "a plan without a run"
run 0 lorsa-train train.yaml --dry-run
out_has "^parameters +[0-9]+"
out_has "^training +640 tokens = 20 steps of 32"
holds test ! -e run

begin "a full disk stops with the last checkpoint intact"
full_disk() { (trap '' XFSZ; ulimit -f 8; exec lorsa-train train.yaml); }
run 4 full_disk
err_has "run/.*(File too large|No space left|cannot)"
holds test ! -e run/final
holds test -z "$(find run -name '*.tmp')"

begin "training"
run 0 lorsa-train train.yaml
out_has "^trained: 640 tokens"
for file in config.yaml environment.json metrics.jsonl log.txt final/lorsa.json final/model.safetensors; do
  holds test -s run/$file
done
holds test "$(wc -l <run/metrics.jsonl)" -eq 10
holds test "$(ls run/checkpoints | wc -l)" -eq 2
run 0 lorsa-train train.yaml
out_has "^already trained: 640 tokens"
run 2 lorsa-train train.yaml --set model.top_k=3
err_has "model.top_k.*run.out|run.out.*model.top_k"
run 0 lorsa-train run/config.yaml --dry-run
out_has "20 steps"

begin "a folder of a version that had sweeps of its own"
printf 'sweep:\n  num_ov_heads: []\n  top_k: []\n  seed: []\n' >>run/config.yaml
for config in run/final/run_config.json run/checkpoints/*/run_config.json; do
  sed -i 's/^{/{"sweep.num_ov_heads": "[]", "sweep.top_k": "[]", "sweep.seed": "[]",/' "$config"
done
run 0 lorsa-train run/config.yaml
out_has "^already trained: 640 tokens"
run 0 lorsa-train run/config.yaml --set train.tokens=704
err_has "resuming at 640 tokens"
out_has "^trained: 704 tokens"
run 2 lorsa-train train.yaml --set 'sweep.top_k=[2, 4]'
err_has "sweep.top_k.*lorsa-sweep"

begin "an interrupted run goes on"
lorsa-train train.yaml --set run.out=long --set train.tokens=400k --quiet >"$scratch/out" 2>"$scratch/err" &
pid=$!
for _ in $(seq 200); do [ -e long/metrics.jsonl ] && break; sleep 0.1; done
kill -TERM $pid
wait $pid
holds test $? -eq 75
holds grep -q "run the same command again" "$scratch/err"
stopped=$(ls long/checkpoints | tail -n 1)
holds test -e "long/checkpoints/$stopped/trainer.json"
tokens=$((10#${stopped#tokens-} + 64))
run 0 lorsa-train train.yaml --set run.out=long --set train.tokens=$tokens
err_has "resuming at"
out_has "^trained: $tokens tokens"

begin "evaluation"
run 0 lorsa-eval run/final --cache cache/layer-1 --model "$golden/model" --out eval.json
out_has "^ +fvu +[0-9.]+"
out_has "^ +ce_recovered +"
for key in fvu l0 dead_fraction ce_original ce_replaced ce_zero_ablated ce_recovered kl; do
  holds grep -q "\"$key\": [-0-9]" eval.json
done
run 0 lorsa-eval run/final --cache cache/layer-1 --quiet
holds test -z "$(grep ce_ "$scratch/out")"

begin "checkpoints that cannot be used"
run 4 lorsa-eval nowhere --cache cache/layer-1 --device cpu
err_has "nowhere"
err_lines 1
cp -r run/final cut
head -c 600 run/final/model.safetensors >cut/model.safetensors
run 3 lorsa-eval cut --cache cache/layer-1
err_has "cut/model.safetensors"
cp -r run/final wide
sed -i "s/\"d_model\": $width/\"d_model\": $((width + 2))/" wide/lorsa.json
run 3 lorsa-eval wide --cache cache/layer-1
err_has "wide/model.safetensors.*W_Q.*$((width + 2))"
cp -r run/final other
sed -i 's/"layer": 1/"layer": 2/' other/lorsa.json
run 2 lorsa-eval other --cache cache/layer-1
err_has "do not belong together.*site is layer 2.*layer 1"
run 4 lorsa-eval run/final --cache cache/layer-1 --out nowhere/eval.json
err_has "nowhere"

finish
