#!/usr/bin/env bash
# What people really have in the place of a file or a folder: every command says what it is, where, and what to do.
source "$(dirname "$0")/harness.sh"

pointer() { printf 'version https://git-lfs.github.com/spec/v1\noid sha256:%064d\nsize %d\n' 0 "$2" >"$1"; }

own_model model
for i in $(seq 40); do echo "{\"text\": \"document $i\"}"; done >corpus.jsonl
own_cache_config 600 0.2
cat >train.yaml <<YAML
run:   {out: run, device: cpu, threads: 1}
data:  {cache: cache/layer-0, batch_sequences: 2}
model: {num_ov_heads: 8, num_qk_heads: 2, d_qk: 4, top_k: 2}
train: {tokens: 400}
YAML
extract() { run "$1" lorsa-cache extract cache.yaml --set model.path="$2" "${@:3}"; err_lines 1; }

begin "the whole way works"
run 0 lorsa-cache extract cache.yaml --quiet
run 0 lorsa-train train.yaml --quiet
run 0 lorsa-dump run/final --cache cache/layer-0 --model model --out dump --quiet
run 0 lorsa-eval run/final --cache cache/layer-0 --model model/ --quiet
mv cache made

begin "Git LFS pointers"
own_model lfs && pointer lfs/model.safetensors 269060552
extract 3 lfs
err_has "lfs/model.safetensors: expected a safetensors file, found a Git LFS pointer: the file itself, 269060552 bytes, was not fetched; run git lfs pull"
own_model lfs && pointer lfs/tokenizer.json 2104556
extract 3 lfs
err_has "lfs/tokenizer.json.*Git LFS pointer.*2104556 bytes.*git lfs pull"
own_model lfs && pointer lfs/config.json 800
extract 3 lfs
err_has "lfs/config.json.*Git LFS pointer"
own_model lfs && pointer lfs/tokenizer_config.json 800
extract 3 lfs
err_has "lfs/tokenizer_config.json.*Git LFS pointer"
pointer pointer.jsonl 1000000
extract 3 model --set data.files=[pointer.jsonl]
err_has "pointer.jsonl: expected lines of JSON.*Git LFS pointer"
pointer pointer.yaml 900
run 3 lorsa-train pointer.yaml
err_has "pointer.yaml: expected a YAML configuration, found a Git LFS pointer"
cp -r run/final final && pointer final/model.safetensors 1000000
run 3 lorsa-eval final --cache made/layer-0
err_has "final/model.safetensors.*Git LFS pointer"
cp -r made/layer-0 pulled && pointer pulled/shard-00000.h5 1000000
run 3 lorsa-eval run/final --cache pulled
err_has "pulled/shard-00000.h5: expected an HDF5 file, found a Git LFS pointer"
pointer pulled/manifest.json 1000
run 3 lorsa-cache info pulled
err_has "pulled/manifest.json.*Git LFS pointer"
pointer prompts.txt 1000
run 3 lorsa-eval run/final --cache made/layer-0 --model model --ablate-heads 0 --prompts prompts.txt
err_has "prompts.txt.*Git LFS pointer"

begin "pages, answers and empty files"
own_model page && printf '<!DOCTYPE html>\n<html><head><title>Sign in</title></head></html>\n' | tee page/model.safetensors >page/page.html
extract 3 page
err_has 'page/model.safetensors: expected a safetensors file, found a web page \(HTML\) with the title "Sign in"'
own_model answer && echo '{"error":"Access to model org/tiny is restricted."}' >answer/config.json
extract 3 answer
err_has "answer/config.json: expected JSON, found the answer of a server.*restricted"
echo "Entry not found" >answer/config.json
extract 3 answer
err_has "answer/config.json.*Entry not found"
own_model empty && : >empty/model.safetensors
extract 3 empty
err_has "empty/model.safetensors.*an empty file \(0 bytes\)"
own_model empty && : >empty/tokenizer.json
extract 3 empty
err_has "empty/tokenizer.json.*an empty file \(0 bytes\)"

begin "other formats and half downloads"
own_model zip && python3 - <<'PY'
import zipfile
with zipfile.ZipFile("zip/model.safetensors", "w") as archive:
    archive.writestr("model/data.pkl", "x" * 100)
PY
extract 3 zip
err_has "zip/model.safetensors.*found an archive of torch.save.*save_file"
own_model packed && gzip -c model/model.safetensors >packed/model.safetensors
extract 3 packed
err_has "packed/model.safetensors.*found gzip data; unpack it"
own_model cut && head -c 9000 model/model.safetensors >cut/model.safetensors
extract 3 cut
err_has "cut/model.safetensors: tensor .*a cut file\? Its header is that of $(stat -c %s model/model.safetensors) bytes, found 9000"
own_model part && mv part/model.safetensors part/model.safetensors.crdownload
extract 3 part
err_has "found part/model.safetensors.crdownload: an unfinished download"
own_model aria && : >aria/model.safetensors.aria2
extract 3 aria
err_has "aria2 has not finished the download"
own_model piped && rm piped/model.safetensors && mkfifo piped/model.safetensors
extract 4 piped
err_has "piped/model.safetensors: expected a file, found a pipe"
own_model folder && rm folder/model.safetensors && mkdir folder/model.safetensors
extract 4 folder
err_has "folder/model.safetensors: expected a file, found a folder"
gzip -c corpus.jsonl >packed.jsonl
extract 3 model --set data.files=[packed.jsonl]
err_has "packed.jsonl: expected lines of JSON as the name says, found gzip data; rename it to packed.jsonl.gz"
cp corpus.jsonl plain.jsonl.gz
extract 3 model --set data.files=[plain.jsonl.gz]
err_has "plain.jsonl.gz: expected gzip data as the name says, found JSON; it is not packed"

begin "a model's path in the layouts that it is downloaded in"
extract 3 model/config.json
err_has "model/config.json: expected a model folder.*a file of one; give its folder, model$"
mkdir -p hub/models--org--tiny/{refs,blobs} hub/models--org--tiny/snapshots/{0a1b,2c3d}
for file in model/*; do
  name=$(basename "$file")
  cp "$file" "hub/models--org--tiny/blobs/$name"
  for revision in 0a1b 2c3d; do ln -s "../../blobs/$name" "hub/models--org--tiny/snapshots/$revision/$name"; done
done
extract 3 hub/models--org--tiny
err_has "cache of the Hugging Face hub; give the folder of a snapshot: .*snapshots/0a1b, .*snapshots/2c3d"
printf 2c3d >hub/models--org--tiny/refs/main
extract 3 hub
err_has "give the folder of a snapshot: hub/models--org--tiny/snapshots/2c3d$"
run 0 lorsa-cache extract cache.yaml --set model.path=hub/models--org--tiny/snapshots/2c3d --quiet
rm hub/models--org--tiny/blobs/model.safetensors; rm -r cache
extract 4 hub/models--org--tiny/snapshots/2c3d
err_has "model.safetensors: cannot open: No such file or directory; it is a symbolic link to ../../blobs/model.safetensors, which is not there"
HF_HUB_CACHE=$PWD/nowhere extract 4 org/tiny
err_has "org/tiny: .*hf download org/tiny --local-dir FOLDER"
HF_HUB_CACHE=$PWD/hub extract 4 org/tiny
err_has "its files on this machine are in .*/snapshots/2c3d"
own_model torch && mv torch/model.safetensors torch/pytorch_model.bin
extract 3 torch
err_has "found neither; found pytorch_model.bin.*save_pretrained"
mkdir -p meta/original && : >meta/original/consolidated.00.pth && echo '{}' >meta/original/params.json
extract 3 meta
err_has "consolidated.00.pth, the makers' own layout"
own_model sentencepiece && rm sentencepiece/tokenizer.json && : >sentencepiece/tokenizer.model
extract 3 sentencepiece
err_has "tokenizer.json: found no such file; found tokenizer.model.*AutoTokenizer"
own_model shards && mv shards/model.safetensors shards/model-00001-of-00003.safetensors
extract 3 shards
err_has "shards without their index \(model-00001-of-00003.safetensors\)"
echo '{"weight_map": {"a": "model-00001-of-00003.safetensors", "b": "model-00002-of-00003.safetensors", "c": "model-00003-of-00003.safetensors"}}' \
  >shards/model.safetensors.index.json
extract 3 shards
err_has "expected 3 files, found all but 2: model-00002-of-00003.safetensors, model-00003-of-00003.safetensors"
own_model both && cp both/model.safetensors both/model-00001-of-00001.safetensors
run 0 lorsa-cache extract cache.yaml --set model.path=both --quiet
err_has "both/model.safetensors: is read; the shards beside it, model-00001-of-00001.safetensors, are not"
rm -r cache
mkdir adapter && echo '{}' >adapter/adapter_config.json && : >adapter/adapter_model.safetensors
extract 3 adapter
err_has "an adapter \(LoRA\) alone; merge it"
own_model images 'text_config={}'
extract 3 images
err_has "whose text part is nested \(text_config\)"
holds test ! -e cache

begin "folders and arguments of lorsa's own"
mv made cache
run 3 lorsa-eval run --cache cache/layer-0
err_has "run: expected a checkpoint .*found a training's run folder; did you mean run/final\?"
run 3 lorsa-eval run/final/lorsa.json --cache cache/layer-0
err_has "found a file; did you mean run/final\?"
run 3 lorsa-eval run/final --cache cache/layer-0/shard-00000.h5
err_has "expected an activation cache .*found a file; did you mean cache/layer-0\?"
run 3 lorsa-eval cache/layer-0 --cache run/final
err_has "run/final: expected an activation cache.*found a checkpoint; are two arguments or keys swapped\?"
run 3 lorsa-eval dump --cache cache/layer-0
err_has "dump: expected a checkpoint.*found a dump of heads; its index.json says"
run 3 lorsa-eval run/final --cache model
err_has "found a language model's folder; are two arguments or keys swapped\?"
run 3 lorsa-dump run/final --cache cache/layer-0 --model run/final --out other
err_has "run/final: expected a model folder.*found a checkpoint"
run 3 lorsa-convert run converted
err_has "did you mean run/final\?"
run 3 lorsa-report run/final --out page.html
err_has "run/final: expected a run folder.*did you mean run\?"
run 4 lorsa-eval run/finally --cache cache/layer-0
err_has "run/finally: expected a checkpoint.*found nothing"
holds test ! -e other -a ! -e converted -a ! -e page.html

finish
