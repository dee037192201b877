#!/usr/bin/env bash
# lorsa-convert from outside: what a user types, reads and gets.
. "$(dirname "$0")/harness.sh"

peers=$LORSA_SOURCE/tests/golden/interchange

begin "the command line"
run 2 lorsa-convert
err_has "lorsa-convert needs INPUT and OUTPUT"
run 0 lorsa-convert --help
for option in --from --to --normalization --cache --n-ctx --force --dry-run --quiet; do out_has "$option"; done
run 2 lorsa-convert "$peers/folded"
err_has "lorsa-convert needs OUTPUT"
run 2 lorsa-convert "$peers/folded" new --from gguf
err_has "gguf"
run 2 lorsa-convert "$peers/folded" new --to original
err_has "original"
run 2 lorsa-convert "$peers/folded" new --normalization maybe
err_has "maybe"
run 2 lorsa-convert "$peers/folded" new --n-ctx 0
err_has "n-ctx"
run 4 lorsa-convert nowhere new
err_has "nowhere: expected a checkpoint folder"
err_lines 1
holds test ! -e new

begin "llamascopium to ours and back"
run 0 lorsa-convert "$peers/dataset-wise" imported
out_has "llamascopium, float32"
out_has "d_model 64, 128 OV heads, 4 QK heads of width 16"
out_has "topk, K 8"
out_has "scaled, input by 0.581165, target by 0.651458"
out_has "^wrote +imported \(lorsa, float32\)$"
err_has "dataset-wise.*--normalization folded"
holds test "$(ls imported | tr '\n' ' ')" = "lorsa.json model.safetensors "
run 0 lorsa-convert imported back
holds cmp back/config.json "$peers/dataset-wise/config.json"
holds cmp back/sae_weights.safetensors "$peers/dataset-wise/sae_weights.safetensors"
holds test "$(ls back | wc -l)" -eq 2
run 0 lorsa-convert "$peers/folded" quiet --quiet
holds test ! -s "$scratch/out"
err_lines 0
run 0 lorsa-convert "$peers/dataset-wise" as-folded --normalization folded
err_lines 0
holds grep -q '"normalization": "folded"' as-folded/lorsa.json

begin "the original's final.pth"
run 0 lorsa-convert "$peers/original-relu" from-original
out_has "original, float32"
out_has "llama3 scaling"
out_has "layer +3 of EleutherAI/pythia-160m"
run 0 lorsa-convert from-original from-original-peer --n-ctx 16
holds grep -q '"n_ctx": 16' from-original-peer/config.json
run 0 lorsa-convert "$peers/original-signed" signed --from original --to lorsa
err_has "virtual_kv_num"
run 3 lorsa-convert signed signed-peer
err_has "virtual|topk_signed"
holds test ! -e signed-peer
run 4 lorsa-convert "$peers/original-relu" new --from llamascopium
err_has "expected config.json and sae_weights.safetensors"

begin "outputs that must not be lost"
run 2 lorsa-convert "$peers/folded" imported
err_has "imported: exists; .*--force"
run 0 lorsa-convert "$peers/folded" imported --force
holds grep -q '"normalization": "folded"' imported/lorsa.json
mkdir precious && echo text >precious/notes
run 2 lorsa-convert "$peers/folded" precious --force
err_has "precious: holds more than a checkpoint"
holds test "$(cat precious/notes)" = text
run 0 lorsa-convert "$peers/folded" never --dry-run
out_has "^would write +never"
holds test ! -e never
full_disk() { (trap '' XFSZ; ulimit -f 20; exec lorsa-convert "$peers/folded" full); }
run 4 full_disk
err_has "File too large|cannot write"
holds test ! -e full -a ! -e full.tmp

begin "files that do not fit"
bad() { # KEY VALUE: a copy of the folded checkpoint with another value in config.json
  rm -rf bad
  mkdir bad
  cp "$peers/folded/sae_weights.safetensors" bad/
  sed "s|^\(    \"$1\": \)[^,]*|\1$2|" "$peers/folded/config.json" >bad/config.json
}
bad act_fn '"layertopk"'
run 3 lorsa-convert bad new
err_has "bad/config.json: act_fn: expected one of topk, .*found layertopk"
err_lines 1
bad sae_type '"crosscoder"'
run 3 lorsa-convert bad new
err_has "bad/config.json: sae_type: expected lorsa, found crosscoder"
bad d_model NaN
run 3 lorsa-convert bad new
err_has "bad/config.json: byte [0-9]+: expected JSON"
bad n_ctx 16
run 3 lorsa-convert bad new
err_has 'bad/sae_weights.safetensors: tensor "mask": shape: expected \[16, 16\], found \[32, 32\]'
mkdir cut
cp "$peers/original-relu/config.json" cut/
head -c 4000 "$peers/original-relu/final.pth" >cut/final.pth
run 3 lorsa-convert cut new
err_has "cut/final.pth: expected a state dict"
err_lines 1
holds test ! -e new -a ! -e new.tmp

begin "what we trained, over llamascopium, judged as before"
tiny_configs 640
run 0 lorsa-cache extract cache.yaml --quiet
run 0 lorsa-train train.yaml --quiet
run 0 lorsa-eval run/final --cache cache/layer-1 --device cpu --threads 1 --quiet --out before.json
run 0 lorsa-convert run/final peer
run 0 lorsa-convert peer again
holds cmp run/final/lorsa.json again/lorsa.json
holds cmp run/final/model.safetensors again/model.safetensors
run 0 lorsa-eval again --cache cache/layer-1 --device cpu --threads 1 --quiet --out after.json
holds diff <(grep -v '"checkpoint"' before.json) <(grep -v '"checkpoint"' after.json)

begin "the Lorsa that a layer is"
run 0 lorsa-convert "$golden/model" exact --from-mhsa 1
out_has "^read .*model \(the attention of layer 1, float32\)"
run 0 lorsa-eval exact --cache cache/layer-1 --device cpu --threads 1 --quiet --out exact.json
holds python3 -c 'import json; assert json.load(open("exact.json"))["fvu"] < 1e-9'
run 2 lorsa-convert "$golden/model" none --from-mhsa 3
err_has "layer 3 is outside the 3 layers"
run 2 lorsa-convert "$golden/model" none --from-mhsa 1 --from lorsa
err_has "leave out --from"
run 2 lorsa-convert "$golden/model" none --from-mhsa x
holds test ! -e none

begin "weights that were folded behind their config.json"
python3 - <<'PYTHON'
import json
config = json.load(open("peer/config.json"))
config["norm_activation"] = "dataset-wise"
del config["lorsa"]  # as if llamascopium itself had written it
json.dump(config, open("peer/config.json", "w"), indent=4)
PYTHON
run 0 lorsa-convert peer trapped --cache cache/layer-1
out_has "on the cache .*as scaled; .*as folded"
err_has "reconstruct the cache better as folded: see --normalization"
run 0 lorsa-convert peer freed --cache cache/layer-1 --normalization folded
err_lines 0
run 0 lorsa-eval freed --cache cache/layer-1 --device cpu --threads 1 --quiet --out freed.json
holds diff <(grep -v '"checkpoint"' before.json) <(grep -v '"checkpoint"' freed.json)
run 2 lorsa-convert run/final other --cache cache/layer-1
err_has "lorsa-eval"

finish
