#!/usr/bin/env bash
# Special tokens of model folders whose files disagree, and corpora that bring their own. Rows are made here from the bytes of the documents
# (token 6 + b is byte b) and looked for in the shard, whose tokens lie there as they are.
. "$(dirname "$0")/harness.sh"

own_cache_config 4k 0
# extract CODE OUT [--set ...]: a cache of corpus.jsonl in OUT/layer-0.
extract() {
  local code=$1 out=$2
  shift 2
  run "$code" lorsa-cache extract cache.yaml --set "out.path=$out" "$@"
}

# rows OUT BOS SEPARATOR PACKING TEXT...: true if the cache holds the rows of these documents and nothing else.
rows() {
  python3 - "$@" <<'PY'
import json, pathlib, struct, sys
out, bos, separator, packing, *texts = sys.argv[1:]
folder = pathlib.Path(out) / "layer-0"
documents, stream, expected = [[6 + byte for byte in text.encode()] for text in texts], [], []
for ids in documents:
    if packing == "truncate":
        expected += [[int(bos), *ids[:15]]] if len(ids) >= 15 else []
        continue
    for token in ([int(separator)] if stream else []) + ids:
        stream.append(token)
        if len(stream) == 15:
            expected.append([int(bos), *stream])
            stream = []
manifest = json.loads((folder / "manifest.json").read_text())
assert manifest["num_rows"] == len(expected) > 5, (manifest["num_rows"], len(expected))
tokens = b"".join(struct.pack("<16i", *row) for row in expected)
assert tokens in (folder / "shard-00000.h5").read_bytes(), expected[:2]
PY
}

# says OUT KEY: the value of the manifest's tokens.
says() { python3 -c 'import json, sys; print(json.load(open(sys.argv[1] + "/layer-0/manifest.json"))["tokens"][sys.argv[2]])' "$@"; }

texts=()
for i in $(seq 40); do
  texts+=("document $i is long enough")
  echo "{\"text\": \"document $i is long enough\"}"
done >corpus.jsonl
sed 's/document/<|bos|>document/; s/enough/enough<|eos|>/' corpus.jsonl >own.jsonl

begin "files that agree"
own_model model
extract 0 plain
err_has "rows begin with <\|bos\|> \(id 3\), <\|eos\|> \(id 4\) between documents; not scored: 3, 4, 5"
holds test "$(grep -cE 'contradicts|brings|names' err)" = 0
holds rows plain 3 4 pack "${texts[@]}"
extract 0 plain-rows --set data.packing=truncate
holds rows plain-rows 3 4 truncate "${texts[@]}"

begin "config.json with its class' default ids"
rm -r model
own_model model bos_token_id=1 eos_token_id=2
extract 0 defaults
err_has 'warning: model/config.json: bos_token_id = 1 \("<filler>"\) contradicts model/tokenizer_config.json: bos_token = 3 \("<\|bos\|>"\)'
err_has 'warning: model/config.json: eos_token_id = 2 \("<spare>"\) contradicts model/tokenizer_config.json: eos_token = 4 \("<\|eos\|>"\)'
holds test "$(grep -c contradicts err)" = 2
holds rows defaults 3 4 pack "${texts[@]}"
holds test "$(says defaults unscored_ids)" = "[3, 4, 5]"
holds test "$(says defaults bos_id) $(says defaults separator_id)" = "3 4"

begin "several ends"
rm -r model
own_model model 'eos_token_id=[4, 2]' 'gen:eos_token_id=[4, 1]'
extract 0 ends
holds test "$(grep -c contradicts err)" = 0
holds test "$(says ends unscored_ids)" = "[1, 2, 3, 4, 5]"
holds rows ends 3 4 pack "${texts[@]}"

begin "a tokenizer without BOS"
rm -r model
own_model model tok:bos_token=null json:post_processor=null bos_token_id=1
extract 0 none
err_has 'the tokenizer.s files name no bos_token: model/config.json: bos_token_id = 1 \("<filler>"\) counts'
holds rows none 1 4 pack "${texts[@]}"

begin "a token that the vocabulary lacks"
rm -r model
own_model model 'tok:bos_token="<s>"'
extract 3 absent
err_has 'model/tokenizer_config.json: bos_token: "<s>" is not in the vocabulary'
holds test ! -e absent

begin "documents that begin with BOS and end with EOS"
rm -r model
own_model model
for packing in pack truncate; do
  extract 0 "own-$packing" --set "data.packing=$packing" --set data.files=[own.jsonl]
  err_has "corpus: document 0 brings <\|bos\|> \(id 3\) itself at its beginning"
  holds test "$(grep -c 'at its beginning' err)" = 1
done
holds rows own-pack 3 4 pack "${texts[@]}"
holds rows own-truncate 3 4 truncate "${texts[@]}"

begin "rows of ids that begin with BOS"
python3 - <<'PY'
import struct
rows = [[3, *(6 + byte for byte in f"document {i} is long enough".encode())][:16] for i in range(1, 41)]
header = f"{{'descr': '<i4', 'fortran_order': False, 'shape': ({len(rows)}, 16), }}".encode()
header += b" " * ((-len(header) - 11) % 64) + b"\n"
with open("rows.npy", "wb") as file:
    file.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header)
    for row in rows:
        file.write(struct.pack("<16i", *row))
PY
extract 0 ids --set data.packing=truncate --set data.files=[rows.npy]
err_has "corpus: document 0 brings <"
holds rows ids 3 4 truncate "${texts[@]}"
last="diff of the rows of text and of ids"
holds cmp plain-rows/layer-0/shard-00000.h5 ids/layer-0/shard-00000.h5
extract 0 kept --set data.packing=truncate --set data.files=[rows.npy] --set data.prepend_bos=false
holds cmp plain-rows/layer-0/shard-00000.h5 kept/layer-0/shard-00000.h5

begin "prompts that bring BOS"
cat >train.yaml <<'YAML'
run:   {out: run, device: cpu, threads: 1}
data:  {cache: held/layer-0, batch_sequences: 2}
model: {num_ov_heads: 8, num_qk_heads: 2, d_qk: 4, top_k: 2}
train: {tokens: 640}
YAML
extract 0 held --set data.holdout_fraction=0.3 --quiet
run 0 lorsa-train train.yaml --quiet
printf '<|bos|>old bridge\nold bridge\n' >prompts.txt
run 0 lorsa-eval run/final --cache held/layer-0 --model model --device cpu --ablate-heads 0-3 --prompts prompts.txt --out eval.json
err_has "1 of 2 prompts bring BOS <\|bos\|> themselves"
same='
import json
first, second = json.load(open("eval.json"))["interventions"]["prompts"]
assert first["num_tokens"] == second["num_tokens"] == 11, (first, second)
assert first["most_probable_after"] == second["most_probable_after"]
'
run 0 python3 -c "$same"

finish
