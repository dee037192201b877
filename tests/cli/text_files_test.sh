#!/usr/bin/env bash
# Text as people have it: a byte order mark, line ends of Windows, blanks, no last line end, UTF-16, other bytes. Each kind of file that a
# person gives reads like the plain one or is refused by name.
. "$(dirname "$0")/harness.sh"

own_model model
for i in $(seq 200); do echo "{\"text\": \"document $i has a few words\"}"; done >corpus.jsonl
own_cache_config 4k 0.2
cat >train.yaml <<YAML
run: {out: run, device: cpu, threads: 1}
data: {cache: cache/layer-0, batch_sequences: 4}
model: {num_ov_heads: 16, num_qk_heads: 4, d_qk: 4, top_k: 2}
train: {tokens: 1k}
YAML

# as_windows FILE: the file as an editor of Windows writes it.
as_windows() { { printf '\xef\xbb\xbf'; sed 's/$/\r/' "$1"; } >"$1.new" && mv "$1.new" "$1"; }
# wide FILE: the file in UTF-16 with a mark.
wide() { python3 -c 'import sys; sys.stdout.buffer.write(open(sys.argv[1], encoding="utf-8").read().encode("utf-16"))' "$1"; }

begin "a Lorsa to ask"
run 0 lorsa-cache extract cache.yaml --quiet
run 0 lorsa-train train.yaml --quiet

begin "prompts"
evaluate() { lorsa-eval run/final --cache cache/layer-0 --model model --device cpu --quiet "$@"; }
prompts_of() { # FILE: the prompts and their numbers of tokens
  python3 -c 'import json, sys
for p in json.load(open(sys.argv[1]))["interventions"]["prompts"]:
    print(ascii(p["prompt"]), p["num_tokens"])' "$1"
}
printf 'hello world\n two words\n' >plain.txt
printf '\xef\xbb\xbfhello world\r\n\r\n two words\r\n' >windows.txt
printf '\n  \nhello world  \t\n\n two words' >blanks.txt
for file in plain windows blanks; do
  run 0 evaluate --ablate-heads 0 --prompts $file.txt --out $file.json
  holds test "$(prompts_of $file.json)" = "$(printf "'hello world' 12\n' two words' 11")"  # BOS and a token a byte
done
wide plain.txt >wide.txt
run 3 evaluate --ablate-heads 0 --prompts wide.txt
err_has "wide.txt: expected UTF-8, found UTF-16"
err_lines 1
printf 'hello\ncaf\xe9\n' >latin.txt
run 3 evaluate --ablate-heads 0 --prompts latin.txt
err_has "latin.txt:2: expected UTF-8, found byte 0xE9"
printf 'hello\0\n' >zero.txt
run 3 evaluate --ablate-heads 0 --prompts zero.txt
err_has "zero.txt:1: .*NUL"
printf '\xef\xbb\xbf\r\n \r\n' >empty.txt
run 2 evaluate --ablate-heads 0 --prompts empty.txt
err_has "empty.txt: expected a prompt on every line, found none"
run 2 evaluate --ablate-heads 0 --prompt "$(printf 'caf\xe9')"
err_has "^error: --prompt: expected UTF-8"

begin "lists of heads"
printf '0 3\n5-7' >heads.txt
run 0 evaluate --ablate-heads @heads.txt --out heads.json
printf '\xef\xbb\xbf0 3 \r\n\r\n5-7\r\n' >heads-windows.txt
run 0 evaluate --ablate-heads @heads-windows.txt --out heads-windows.json
holds cmp heads.json heads-windows.json
wide heads.txt >heads-wide.txt
run 3 evaluate --ablate-heads @heads-wide.txt
err_has "heads-wide.txt: expected UTF-8, found UTF-16"

begin "configurations"
cp cache.yaml windows.yaml && as_windows windows.yaml
run 0 lorsa-cache extract windows.yaml --quiet --set out.path=cache-windows
holds cmp cache/layer-0/shard-00000.h5 cache-windows/layer-0/shard-00000.h5
wide cache.yaml >wide.yaml
run 2 lorsa-cache extract wide.yaml
err_has "wide.yaml: expected UTF-8, found UTF-16"
{ cat cache.yaml; printf '# caf\xe9\n'; } >latin.yaml
run 2 lorsa-cache extract latin.yaml
err_has "latin.yaml:6: expected UTF-8, found byte 0xE9"

begin "a model's JSON files"
cp -r model model-windows
for file in config tokenizer tokenizer_config; do as_windows model-windows/$file.json; done
run 0 lorsa-cache extract cache.yaml --quiet --set model.path=model-windows --set out.path=cache-json
holds cmp cache/layer-0/shard-00000.h5 cache-json/layer-0/shard-00000.h5
wide model/config.json >model-windows/config.json
run 3 lorsa-cache extract cache.yaml --quiet --set model.path=model-windows --set out.path=cache-wide
err_has "model-windows/config.json: expected JSON, found text in UTF-16"
holds test ! -e cache-wide

begin "corpora"
cp corpus.jsonl corpus-windows.jsonl && as_windows corpus-windows.jsonl
run 0 lorsa-cache extract cache.yaml --quiet --set 'data.files=[corpus-windows.jsonl]' --set out.path=cache-corpus
holds cmp cache/layer-0/shard-00000.h5 cache-corpus/layer-0/shard-00000.h5
for i in $(seq 300); do echo "line $i of a text "; echo; done >text.txt
run 0 lorsa-cache extract cache.yaml --quiet --set 'data.files=[text.txt]' --set out.path=cache-text
as_windows text.txt
run 0 lorsa-cache extract cache.yaml --quiet --set 'data.files=[text.txt]' --set out.path=cache-text-windows
holds cmp cache-text/layer-0/shard-00000.h5 cache-text-windows/layer-0/shard-00000.h5
wide corpus.jsonl >wide.jsonl
run 3 lorsa-cache extract cache.yaml --quiet --set 'data.files=[wide.jsonl]' --set out.path=cache-wide
err_has "wide.jsonl: expected lines of JSON as the name says, found text in UTF-16"
err_lines 1

begin "a packed corpus that is cut behind what is needed"
python3 - <<'PYTHON'
import gzip, random
r = random.Random(1)
with gzip.open("long.jsonl.gz", "wt") as file:
    for _ in range(20_000):
        file.write('{"text": "%s"}\n' % "".join(r.choices("abcdefgh ijklmnop", k=60)))
whole = open("long.jsonl.gz", "rb").read()
open("cut.jsonl.gz", "wb").write(whole[: len(whole) * 9 // 10])
PYTHON
run 0 lorsa-cache extract cache.yaml --set 'data.files=[cut.jsonl.gz]' --set out.path=cache-cut
err_has "data.max_tokens is reached after .* of the corpus's .*the packed data behind were not read, nor checked for damage"
run 3 lorsa-cache extract cache.yaml --quiet --set 'data.files=[cut.jsonl.gz]' --set data.max_tokens=10M --set out.path=cache-all
err_has "cut.jsonl.gz: byte [0-9]+: expected more gzip data, found the end of the file"

finish
