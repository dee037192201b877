#!/usr/bin/env bash
# Times the training step against torch autograd with dense decode, against the machine's product rate, and part by part;
# prints two Markdown tables. Arguments go to the program (--help lists them).
set -euo pipefail
cd "$(dirname "$0")/../.."
build=${LORSA_BUILD_DIR:-build}
LORSA_BUILD_DIR=$build scripts/build.sh lorsa-bench-step
exec "$build/bin/lorsa-bench-step" "$@"
