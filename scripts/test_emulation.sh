#!/usr/bin/env bash
# Runs the emulated CUDA kernels longer than the tests do, and under sanitizers: for the night.
set -euo pipefail

usage() {
  cat <<'TEXT'
usage: scripts/test_emulation.sh [orders] [address]

The CUDA kernels run without a device (tests/emulation/). Settings (default: both):
  orders   every call in 8 orders of its threads, which must give the same bits, and undefined behaviour looked for in the
           kernels: build-emulation/. LORSA_EMULATION_ORDERS sets another number
  address  the address sanitizer's view of every access, in one order: build-emulation-address/
Only the emulation's test and the modules that it needs are built.
TEXT
}

settings=()
for argument in "$@"; do
  case "$argument" in
    orders | address) settings+=("$argument") ;;
    -h | --help) usage; exit 0 ;;
    *) usage >&2; exit 2 ;;
  esac
done
[[ ${#settings[@]} -gt 0 ]] || settings=(orders address)

cd "$(dirname "${BASH_SOURCE[0]}")/.."
export CCACHE_BASEDIR=$PWD CCACHE_NOHASHDIR=1 CCACHE_SLOPPINESS=pch_defines,time_macros
export UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1
# LibTorch keeps memory for good.
export ASAN_OPTIONS=detect_leaks=0:protect_shadow_gap=0

run() { # BUILD SANITIZERS ORDERS
  echo "test_emulation: $2, $3 orders, in $1"
  cmake -S . -B "$1" -G Ninja -DCMAKE_BUILD_TYPE=RelWithDebInfo -DLORSA_CUDA=OFF "-DLORSA_SANITIZE=$2" >"$1.log" 2>&1 \
    || { cat "$1.log" >&2; exit 1; }
  mv "$1.log" "$1/configure.log"
  ninja -C "$1" -j "${LORSA_JOBS:-$(nproc)}" test_emulation
  LORSA_EMULATION_ORDERS=$3 "$1/bin/test_emulation" --warn NoAssertions
}

for setting in "${settings[@]}"; do
  case "$setting" in
    orders) run build-emulation undefined "${LORSA_EMULATION_ORDERS:-8}" ;;
    address) run build-emulation-address address,undefined 1 ;;
  esac
done
