#!/usr/bin/env bash
# Runs the emulated CUDA kernels longer than the tests do, and under sanitizers: for the night.
set -euo pipefail

usage() {
  cat <<'TEXT'
usage: scripts/test_emulation.sh [orders] [sanitizers]

The CUDA kernels run without a device (tests/emulation/). Settings (default: both):
  orders      every call in 8 orders of its threads, which must give the same bits; built by scripts/build.sh.
              LORSA_EMULATION_ORDERS sets another number
  sanitizers  one order under the address and undefined-behaviour sanitizers (the preset asan, build-asan/). They see the
              kernels' stacks and the bindings too. Races are what the emulation looks for itself: the thread sanitizer
              takes no part
Only the emulation's test and the modules that it needs are built.
TEXT
}

settings=()
for argument in "$@"; do
  case "$argument" in
    orders | sanitizers) settings+=("$argument") ;;
    -h | --help) usage; exit 0 ;;
    *) usage >&2; exit 2 ;;
  esac
done
[[ ${#settings[@]} -gt 0 ]] || settings=(orders sanitizers)

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

test_orders() {
  "$root/scripts/build.sh" test_emulation
  LORSA_EMULATION_ORDERS=${LORSA_EMULATION_ORDERS:-8} "${LORSA_BUILD_DIR:-$root/build}/bin/test_emulation" --warn NoAssertions
}

test_sanitizers() {
  cd "$root"
  export CCACHE_BASEDIR=$root CCACHE_NOHASHDIR=1 CCACHE_SLOPPINESS=pch_defines,time_macros
  cmake --preset asan >/dev/null
  cmake --build --preset asan --target test_emulation
  # LibTorch keeps memory for good.
  ASAN_OPTIONS=detect_leaks=0:protect_shadow_gap=0 UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1 \
    LORSA_EMULATION_ORDERS=1 build-asan/bin/test_emulation --warn NoAssertions
}

for setting in "${settings[@]}"; do
  echo "test_emulation: $setting"
  "test_$setting"
done
