#!/usr/bin/env bash
# Times the superposition benchmark for one seed, from target model to scores.
set -euo pipefail

usage() {
  cat <<'TEXT'
usage: scripts/bench/superposition.sh

Runs configs/experiments/superposition.yaml with its first seed alone, in a scratch folder, and prints its table and seconds.
TEXT
}

case "${1:-}" in
  -h | --help) usage; exit 0 ;;
esac

cd "$(dirname "${BASH_SOURCE[0]}")/../.."
scratch=$(mktemp -d "${TMPDIR:-/tmp}/lorsa-superposition-XXXXXX")
trap 'rm -rf "$scratch"' EXIT
sed 's/\[0, 1, 2, 3, 4\]/[0]/g' configs/experiments/superposition.yaml >"$scratch/one_seed.yaml"
started=$SECONDS
"${LORSA_BUILD_DIR:-build}/bin/lorsa-sweep" "$scratch/one_seed.yaml" --quiet --set "sweep.out=$scratch/sweep" | grep -v "^page: "
echo "$((SECONDS - started)) s"
