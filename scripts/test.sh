#!/usr/bin/env bash
# Builds and runs every test.
set -euo pipefail

usage() {
  cat <<'TEXT'
usage: scripts/test.sh [CTEST OPTIONS]

Installs what the tests need (scripts/setup.sh --tests), builds (scripts/build.sh, same environment), fetches the language
model that some tests read, and runs ctest:
  scripts/test.sh                 everything
  scripts/test.sh -R model -V     tests whose name contains "model", with their output
TEXT
}

case "${1:-}" in
  -h | --help) usage; exit 0 ;;
esac

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
build=${LORSA_BUILD_DIR:-$root/build}

"$root/scripts/setup.sh" --tests
"$root/scripts/build.sh"
"$root/scripts/fetch_smollm2.sh" "$root/quickstart/model"

log=$build/ctest.log
status=0
# One test at a time: each uses all cores, and some measure time.
(cd "$build" && ctest --output-on-failure --no-tests=error --parallel 1 "$@") 2>&1 | tee "$log" || status=$?
echo "test: $(grep -E 'tests passed' "$log" || echo "ctest ended with status $status")"
skipped=$(sed -nE 's/^[[:space:]]*[0-9]+ - ([^ ]+) \(Skipped\).*/\1/p' "$log" | sort -u | paste -s -d ' ')
# Without a device the GPU's tests are the only ones that cannot run.
case $skipped in
  "") ;;
  gpu) echo "test: skipped: gpu (no CUDA device was found, or the build is without CUDA)" ;;
  *) echo "test: skipped: $skipped" ;;
esac
exit "$status"
