#!/usr/bin/env bash
# Trains the quickstart's Lorsa and the SAE of as many features, K and tokens on the same cache and prints both side by side.
set -euo pipefail

usage() {
  cat <<'TEXT'
usage: scripts/compare_sae.sh [--set KEY=VALUE ...]

Needs the quickstart's model and cache (scripts/quickstart.sh). Trainings that are there already are not done again; arguments go to both.
Runs: quickstart/run, quickstart/sae; the figures as JSON: quickstart/comparison.json.
TEXT
}

case "${1:-}" in
  -h | --help) usage; exit 0 ;;
esac

cd "$(dirname "${BASH_SOURCE[0]}")/.."
bin=${LORSA_BUILD_DIR:-build}/bin
for config in smollm2-train smollm2-sae; do
  "$bin/lorsa-train" "configs/$config.yaml" "$@"
done
"$bin/lorsa-eval" quickstart/run/final quickstart/sae/final --cache quickstart/cache/layer-17 --model quickstart/model \
  --out quickstart/comparison.json
