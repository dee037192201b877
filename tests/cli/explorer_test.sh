#!/usr/bin/env bash
# The explorer in a real browser, opened from disk: a dump of a tiny model, and one of 32,768 made-up heads with texts that
# would harm a page that took them for markup. 77 where Chromium is missing: skipped.
. "$(dirname "$0")/harness.sh"

need_chromium

tiny_configs 320
begin "two dumps"
run 0 lorsa-cache extract cache.yaml --quiet
run 0 lorsa-train train.yaml --quiet
run 0 lorsa-dump run/final --cache cache/layer-1 --model "$golden/model" --out dump --window 8 --quiet
run 0 write_dump many 32768

begin "the explorer in Chromium"
run 0 python3 "$LORSA_SOURCE/tests/cli/explorer_check.py" dump many "$screenshots"
cat "$scratch/out"
out_has "checks of the page, 0 failed"

finish
