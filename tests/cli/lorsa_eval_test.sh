#!/usr/bin/env bash
# lorsa-eval from outside: what a user types, reads and gets.
. "$(dirname "$0")/harness.sh"

tiny_configs 320
run 0 lorsa-cache extract cache.yaml --quiet
run 0 lorsa-train train.yaml --quiet
sed 's/out: run/out: sae/; s/{num_ov_heads/{kind: sae, num_ov_heads/; s/ num_qk_heads: 6, d_qk: 8,//' train.yaml >sae.yaml
run 0 lorsa-train sae.yaml --quiet
eval=(lorsa-eval --cache cache/layer-1 --quiet)
model=(--model "$golden/model")

begin "the command line"
run 2 lorsa-eval
err_has "lorsa-eval needs CHECKPOINT and --cache"
run 0 lorsa-eval --help
for option in --cache --model --out --html --max-rows --pattern-rows --context-lengths --batch-sequences --device --threads --quiet; do
  out_has "$option"
done
run 2 lorsa-eval run/final
err_has "lorsa-eval needs --cache"
run 2 "${eval[@]}" run/final --pattern-rows -1
err_lines 1

begin "a report of one checkpoint"
run 0 "${eval[@]}" run/final --max-rows 3 --batch-sequences 2 --threads 1 --device cpu --out one.json
out_has " layer 1, attention, 3 held-out rows"
out_has "^  lorsa, .* OV heads, K .*: run/final"
out_has "^  attention_fidelity .*  nats, KL to the closest QK head"
out_has "^  head_spread "
err_lines 0
holds grep -q '"attention_fidelity"' one.json
holds grep -q '"num_queries"' one.json
run 0 "${eval[@]}" run/final --max-rows 3 --pattern-rows 2 --out two.json
holds python3 -c 'import json
three, two = (json.load(open(name))["attention"] for name in ("one.json", "two.json"))
assert (three["num_rows"], two["num_rows"], len(two["kl"])) == (3, 2, 6)'
run 0 "${eval[@]}" run/final --max-rows 3 --pattern-rows 0
holds test -z "$(grep attention_fidelity "$scratch/out")"

begin "several checkpoints and longer contexts"
run 0 "${eval[@]}" "${model[@]}" --context-lengths 32,48 run/final sae/final --out both.json --html both.html
out_has "^  ce_recovered +-?[0-9.]+ +-?[0-9.]+$"
out_has "^  fvu at 48 +[0-9.]+ +[0-9.]+$"
out_has "^cosine of the errors"
holds grep -q '"shared_errors"' both.json
holds grep -q '"fvu_per_bucket"' both.json
holds grep -q '"checkpoint":"sae/final"' both.html
run 2 "${eval[@]}" run/final --context-lengths 32
err_has "--context-lengths needs --model"
err_lines 1
run 2 "${eval[@]}" "${model[@]}" run/final --context-lengths 32,65
err_has "--context-lengths: 65 exceeds the 64 positions .* of .*model"
run 2 "${eval[@]}" "${model[@]}" run/final --context-lengths 48 --max-rows 2
err_has "a row of 48 tokens is made of 4 held-out rows of 16, found 2 in cache/layer-1 \(--max-rows\)"

begin "several sites at once"
run 0 lorsa-cache extract cache.yaml --quiet --set components=[mlp]
sed 's/out: run/out: mlp/; s/layer-1/layer-1-mlp/; s/kind: sae/kind: transcoder/' sae.yaml | sed 's/out: sae/out: mlp/' >mlp.yaml
run 0 lorsa-train mlp.yaml --quiet
run 0 "${eval[@]}" "${model[@]}" run/final mlp/final --together --device cpu --threads 1 --out together.json
out_has "^  layer 1, attention alone .* lorsa run/final"
out_has "^  layer 1, mlp alone .* transcoder mlp/final"
out_has "^  all together"
err_lines 0
run 0 "${eval[@]}" "${model[@]}" run/final --device cpu --threads 1 --out alone.json
holds python3 -c 'import json
together, alone = (json.load(open(name)) for name in ("together.json", "alone.json"))
assert together["schema"] == "lorsa-eval-together-1" and len(together["alone"]) == 2
assert abs(together["alone"][0]["ce_replaced"] - alone["ce_replaced"]) < 1e-6
assert abs(together["alone"][0]["kl"] - alone["kl"]) < 1e-6'
run 0 lorsa-eval mlp/final --cache cache/layer-1-mlp "${model[@]}" --device cpu --quiet
out_has " layer 1, mlp, "
out_has "^  transcoder, .*: mlp/final"
run 2 "${eval[@]}" "${model[@]}" run/final sae/final --together
err_has "two checkpoints stand for layer 1, attention"
run 2 "${eval[@]}" run/final --together
err_has "together needs --model"
run 2 "${eval[@]}" "${model[@]}" run/final --together --random-control
err_has "leave out --html.*--random-control"
run 2 "${eval[@]}" mlp/final
err_has "mlp/final and cache cache/layer-1 do not belong together: the site is layer 1, mlp and layer 1, attention"

begin "files that cannot be written or read"
run 2 "${eval[@]}" run/final --max-rows 1 --html page.json
err_has "page.json.*must end in .html"
run 4 "${eval[@]}" run/final --max-rows 1 --html nowhere/page.html
err_has "nowhere/page.html"
run 4 "${eval[@]}" nowhere --max-rows 1
err_has "nowhere"
err_lines 1

finish
