#!/usr/bin/env bash
# The page of lorsa-eval --html in a real browser, opened from disk: of a Lorsa and an SAE of a tiny model, of one alone, and one with
# families, operands and texts that would harm a page that took them for markup; that of lorsa-report beside them. 77 where Chromium is missing: skipped.
. "$(dirname "$0")/harness.sh"

need_chromium

tiny_configs 320
begin "a Lorsa and an SAE"
run 0 lorsa-cache extract cache.yaml --quiet
run 0 lorsa-train train.yaml --quiet
sed 's/out: run/out: sae/; s/{num_ov_heads/{kind: sae, num_ov_heads/; s/ num_qk_heads: 6, d_qk: 8,//' train.yaml >sae.yaml
run 0 lorsa-train sae.yaml --quiet
eval=(lorsa-eval --cache cache/layer-1 --model "$golden/model" --quiet)
run 0 "${eval[@]}" run/final sae/final --context-lengths 32,48 --html both.html --out both.json
run 0 "${eval[@]}" run/final --html one.html --out one.json

begin "a run, whose page has the same charts"
mkdir -p runs/a
for step in 1 2 3; do echo "{\"tokens\":$((step * 1000)),\"loss\":0.$((9 - step)),\"fvu\":0.5}"; done >runs/a/metrics.jsonl
run 0 lorsa-report runs/a --out run.html

begin "the pages in Chromium"
run 0 python3 "$LORSA_SOURCE/tests/cli/eval_page_check.py" "$screenshots"
cat "$scratch/out"
out_has "checks of the page, 0 failed"

finish
