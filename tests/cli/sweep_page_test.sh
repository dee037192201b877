#!/usr/bin/env bash
# The page of a sweep in a real browser, opened from disk: with everything that can be measured, with nothing but runs, and with texts that
# would harm a page that took them for markup. 77 where Chromium is missing: skipped.
. "$(dirname "$0")/harness.sh"

need_chromium

begin "the pages in Chromium"
run 0 python3 "$LORSA_SOURCE/tests/cli/sweep_page_check.py" "$screenshots"
cat "$scratch/out"
out_has "checks of the page, 0 failed"

finish
