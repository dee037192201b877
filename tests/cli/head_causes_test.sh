#!/usr/bin/env bash
# A Lorsa of SmolLM2's layer 17, trained for seconds: its induction heads are found under the layer's own, and ablating them costs
# what copies need and nothing else.
. "$(dirname "$0")/harness.sh"

model=$LORSA_SOURCE/quickstart/model
[ -s "$model/model.safetensors" ] || { echo "skipped: scripts/fetch_smollm2.sh fetches the model that this test reads"; exit 77; }

begin "a short training"
python3 - <<'PY' >corpus.jsonl
import json, pydoc_data.topics
for text in pydoc_data.topics.topics.values():
    for begin in range(0, len(text), 2000):
        print(json.dumps({"text": text[begin:begin + 2000]}))
PY
cat >cache.yaml <<YAML
layers: [17]
model:  {path: $model}
data:   {files: [corpus.jsonl], context_length: 128, max_tokens: 20k, holdout_fraction: 0.1}
out:    {path: cache}
run:    {device: cpu, batch_sequences: 8}
YAML
cat >train.yaml <<YAML
run:    {out: run, device: cpu}
data:   {cache: cache/layer-17, batch_sequences: 8}
model:  {num_ov_heads: 2304, num_qk_heads: 36, d_qk: 64, top_k: 32}
init:   {qk: mhsa, ov: active_subspace, norm_search: true}
train:  {tokens: 80k, learning_rate: 1.0e-3, warmup_tokens: 8k, decay_fraction: 0.2, initial_k: 256, k_anneal_tokens: 12k}
checkpoint: {every_tokens: 1M}
YAML
run 0 lorsa-cache extract cache.yaml --quiet
run 0 lorsa-train train.yaml --quiet

begin "induction heads and what they cause"
run 0 lorsa-eval run/final --cache cache/layer-17 --model "$model" --max-rows 4 --ablate-heads induction --random-control \
  --prompts "$LORSA_SOURCE/scripts/plain_sentences.txt" --prompt-tokens 1 --device cpu --quiet --out eval.json
out_has "induction"
run 0 python3 "$LORSA_SOURCE/scripts/check_reading.py" eval.json --under 3,4,5 --least-heads 50 --least-ratio 3
out_has "plain sentences: KL"
cat "$scratch/out"

begin "a dump with family scores"
run 0 lorsa-dump run/final --cache cache/layer-17 --model "$model" --families --max-rows 8 --device cpu --quiet --out dump
holds grep -q '"subtoken_induction":' dump/index.json
holds grep -q '"family_scores":{"' dump/explorer/data/heads-00000.js

begin "names of families"
run 2 lorsa-eval run/final --cache cache/layer-17 --model "$model" --max-rows 1 --ablate-heads inductive --device cpu --quiet
err_has "induction"
run 2 lorsa-eval run/final --cache cache/layer-17 --max-rows 1 --families --device cpu --quiet
err_has "--model"

finish
