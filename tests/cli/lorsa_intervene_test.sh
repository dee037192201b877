#!/usr/bin/env bash
# lorsa-eval's interventions from outside: heads ablated and steered, the control, prompts.
. "$(dirname "$0")/harness.sh"

# A number of eval.json by its path: number heldout rise.
number() {
  python3 -c 'import json, sys
value = json.load(open("eval.json"))["interventions"]
for key in sys.argv[1:]:
    value = value[int(key) if key.isdigit() else key]
print(value)' "$@"
}

evaluate() { lorsa-eval run/final --cache cache/layer-1 --model "$golden/model" --device cpu --quiet "$@"; }

tiny_configs 640
begin "a Lorsa to intervene in"
run 0 lorsa-cache extract cache.yaml --quiet
run 0 lorsa-train train.yaml --quiet
run 0 lorsa-eval --help
for option in --ablate-heads --steer --random-control --prompt --prompts --prompt-tokens; do
  out_has "^ +$option "
done

begin "ablated heads against random ones"
run 0 evaluate --ablate-heads 0-5,7,9 --random-control --out eval.json
out_has "^interventions: 8 heads ablated"
out_has "^ +held-out rows +[0-9]+ +[0-9.]+ +[0-9.]+ +-?[0-9.]+ +[0-9.]+"
out_has "^ +repeated, 2 x 7 tokens +48 +[0-9.]+"
out_has "seeds 0 to 4"
holds test "$(number ablated_heads)" = "[0, 1, 2, 3, 4, 5, 7, 9]"
holds test "$(number repeated_tokens num_predictions)" = 48
holds test "$(number random_control draws 4 | tr , '\n' | wc -l)" = 8
rise=$(number heldout rise)
run 0 evaluate --ablate-heads 0-5,7,9 --random-control --out eval.json
holds test "$(number heldout rise)" = "$rise"

begin "the same list from a file"
printf '0 1 2\n3-5, 7\n9\n' >heads.txt
run 0 evaluate --ablate-heads @heads.txt --out eval.json
holds test "$(number heldout rise)" = "$rise"

begin "a steered head moves the next token of prompts"
printf 'the old bridge\nbirds sang\n' >prompts.txt
run 0 evaluate --steer 3=8 --steer 4=-1.5 --prompt "river and" --prompts prompts.txt --prompt-tokens 4 --out eval.json
out_has "^interventions: head 3 set to 8.*, head 4 set to -1.5"
out_has "^ +text of the prompts +[0-9]+ +[0-9.]+ +[0-9.]+ +-?[0-9.]+"
out_has "^after 'river and', kl [0-9.]+"
out_has "^after 'birds sang', kl"
out_has "^  '.*' +[0-9.]+ +[0-9.]+  '.*' +[0-9.]+ +[0-9.]+  '"
holds test "$(number prompts 1 prompt)" = "the old bridge"
holds test "$(number prompts 0 most_changed | grep -o token | wc -l)" = 4
holds test "$(number prompts 0 most_changed 0 before)" != "$(number prompts 0 most_changed 0 after)"

begin "what cannot be done names the option"
run 2 evaluate --ablate-heads 48
err_has "--ablate-heads: expected heads from 0 to 47, found 48"
err_lines 1
run 2 evaluate --ablate-heads 3,3
err_has "found 3 twice"
run 2 evaluate --ablate-heads inductive
err_has "found 'inductive'"
err_has "induction"
run 2 evaluate --ablate-heads ""
err_has "--ablate-heads: expected a text, found an empty text"
run 2 evaluate --steer 3
err_has "--steer: expected HEAD=VALUE"
run 2 evaluate --steer 3=1 --ablate-heads 3
err_has "found 3 in both"
run 2 evaluate --prompt the
err_has "--prompt and --prompts need --ablate-heads or --steer"
run 2 lorsa-eval run/final --cache cache/layer-1 --ablate-heads 3
err_has "need --model"
run 2 lorsa-eval run/final run/final --cache cache/layer-1 --model "$golden/model" --ablate-heads 3
err_has "expected one CHECKPOINT, found 2"
run 4 evaluate --ablate-heads @nowhere.txt
err_has "nowhere.txt"

finish
