#!/usr/bin/env bash
# lorsa-dump from outside: what a user types, reads and gets.
. "$(dirname "$0")/harness.sh"

tiny_configs 320
begin "something to dump"
run 0 lorsa-cache extract cache.yaml --quiet
run 0 lorsa-train train.yaml --quiet

begin "the command line"
run 2 lorsa-dump
err_has "lorsa-dump needs CHECKPOINT, --cache, --model and --out"
run 0 lorsa-dump --help
out_has "--contexts"
run 2 lorsa-dump run/final --cache cache/layer-1
err_has "lorsa-dump needs --model and --out"
run 4 lorsa-dump nowhere --cache cache/layer-1 --model "$golden/model" --out dump
err_has "nowhere"
holds test ! -e dump

begin "a dump"
run 0 lorsa-dump run/final --cache cache/layer-1 --model "$golden/model" --out dump
holds test -s dump/index.json
holds test "$(cat dump/heads-*.jsonl | wc -l)" -eq 48
holds test -s dump/explorer/index.html
holds test -z "$(ls -d dump.tmp 2>/dev/null)"
run 0 lorsa-dump run/final --cache cache/layer-1 --model "$golden/model" --out dump --quiet

begin "folders that must not be lost"
mkdir -p precious && echo text >precious/notes
run 2 lorsa-dump run/final --cache cache/layer-1 --model "$golden/model" --out precious
err_has "precious"
holds test "$(cat precious/notes)" = text

begin "a full disk leaves the older dump"
before=$(cksum <dump/index.json)
full_disk() { (trap '' XFSZ; ulimit -f 4; exec lorsa-dump run/final --cache cache/layer-1 --model "$golden/model" --out dump); }
run 4 full_disk
err_has "File too large|cannot write"
holds test "$(cksum <dump/index.json)" = "$before"
holds test ! -e dump.tmp

begin "a checkpoint for another layer"
cp -r run/final other
sed -i 's/"layer": 1/"layer": 2/' other/lorsa.json
run 2 lorsa-dump other --cache cache/layer-1 --model "$golden/model" --out other-dump
err_has "layer"
holds test ! -e other-dump

finish
