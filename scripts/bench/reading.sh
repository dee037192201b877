#!/usr/bin/env bash
# Times the shuffled reader against plain pread; arguments go to the program (--help lists them).
set -euo pipefail
cd "$(dirname "$0")/../.."
build=${LORSA_BUILD_DIR:-build}
LORSA_BUILD_DIR=$build scripts/build.sh lorsa-bench-reading
exec "$build/bin/lorsa-bench-reading" "$@"
