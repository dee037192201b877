#!/usr/bin/env bash
# Runs the tests as processors would that this machine's has more instructions than.
set -euo pipefail

usage() {
  cat <<'TEXT'
usage: scripts/test_processors.sh [SETTING...] [-- CTEST OPTIONS]

Runs the tests (scripts/test.sh) with LibTorch (ATEN_CPU_CAPABILITY), oneDNN (ONEDNN_MAX_CPU_ISA) and the project's own
kernels (LORSA_SIMD_LEVEL) held to fewer instructions than the processor has. Settings (default: avx2 baseline):
  avx2       all three to AVX2: what a processor without AVX-512 computes
  baseline   all three to x86-64's SSE
  libraries  LibTorch and oneDNN alone to SSE: needs no other build
  aten-default, aten-avx2, onednn-sse41, onednn-avx2, simd-3, simd-1    one of them alone
Settings of LORSA_SIMD_LEVEL build into build-simd-3 or build-simd-1, the others use LORSA_BUILD_DIR (build).
Example, the tests of single modules as a processor without AVX-512 runs them: scripts/test_processors.sh avx2 -- -L unit
TEXT
}

settings=()
while [[ $# -gt 0 ]]; do
  case "$1" in
    -h | --help) usage; exit 0 ;;
    --) shift; break ;;
    avx2 | baseline | libraries | aten-default | aten-avx2 | onednn-sse41 | onednn-avx2 | simd-3 | simd-1) settings+=("$1"); shift ;;
    *) usage >&2; exit 2 ;;
  esac
done
[[ ${#settings[@]} -gt 0 ]] || settings=(avx2 baseline)

cd "$(dirname "${BASH_SOURCE[0]}")/.."
status=0
summary=
for setting in "${settings[@]}"; do
  aten= onednn= simd=
  case $setting in
    avx2) aten=avx2 onednn=AVX2 simd=3 ;;
    baseline) aten=default onednn=SSE41 simd=1 ;;
    libraries) aten=default onednn=SSE41 ;;
    aten-*) aten=${setting#aten-} ;;
    onednn-*) onednn=${setting#onednn-}; onednn=${onednn^^} ;;
    simd-*) simd=${setting#simd-} ;;
  esac
  variables=()
  [[ -z $aten ]] || variables+=("ATEN_CPU_CAPABILITY=$aten")
  [[ -z $onednn ]] || variables+=("ONEDNN_MAX_CPU_ISA=$onednn")
  [[ -z $simd ]] || variables+=("LORSA_SIMD_LEVEL=$simd" "LORSA_BUILD_DIR=$PWD/build-simd-$simd")
  printf '\n== %s: %s\n' "$setting" "${variables[*]}"
  result=passed
  env "${variables[@]}" scripts/test.sh "$@" || { result=FAILED; status=1; }
  summary+="$setting: $result"$'\n'
done
printf '\n%s' "$summary"
exit "$status"
