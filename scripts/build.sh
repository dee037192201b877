#!/usr/bin/env bash
# Sets up, configures and builds; the programs end up in build/bin/.
set -euo pipefail

usage() {
  cat <<'TEXT'
usage: scripts/build.sh [NINJA TARGETS]

Runs scripts/setup.sh, configures and builds everything (or the given targets). Environment:
  LORSA_BUILD_DIR   build folder                                      (build)
  LORSA_CUDA        AUTO: CUDA where nvcc and a device are found; ON; OFF  (as configured before, at first AUTO)
  LORSA_MPI         AUTO: ranks on the CPU where an MPI is found; ON; OFF  (as configured before, at first AUTO)
  LORSA_SIMD_LEVEL  most that the CPU kernels use: 4, 3 or 1 (CMakeLists.txt)  (as configured before, at first 4)
  LORSA_WERROR      ON: warnings are errors                           (as configured before, at first OFF)
  LORSA_JOBS        compilers at a time                               (one a core, but 2 GiB of memory for each)
TEXT
}

case "${1:-}" in
  -h | --help) usage; exit 0 ;;
  -*) usage >&2; exit 2 ;;
esac

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
build=${LORSA_BUILD_DIR:-$root/build}

"$root/scripts/setup.sh"

options=()
for name in LORSA_CUDA LORSA_MPI LORSA_SIMD_LEVEL LORSA_WERROR; do
  [[ -z ${!name:-} ]] || options+=("-D$name=${!name}")
done

# A file that includes ATen takes the compiler about 1.5 GiB.
memory_gib=$(($(awk '/^MemTotal:/ {print $2}' /proc/meminfo) / 1024 / 1024))
jobs=$(nproc)
[[ $jobs -le $((memory_gib / 2)) ]] || jobs=$((memory_gib / 2 > 0 ? memory_gib / 2 : 1))
jobs=${LORSA_JOBS:-$jobs}

# Lets clones at different places share their objects, those made with a precompiled header too.
export CCACHE_BASEDIR=$root CCACHE_NOHASHDIR=1 CCACHE_SLOPPINESS=pch_defines,time_macros

mkdir -p "$build"
echo "build: configuring $build"
if ! cmake -S "$root" -B "$build" -G Ninja "${options[@]}" >"$build/configure.log" 2>&1; then
  cat "$build/configure.log" >&2
  echo "build: cmake failed" >&2
  exit 1
fi
grep -E '^-- (LibTorch|MPI)' "$build/configure.log" || true
ninja -C "$build" -j "$jobs" "$@"
echo "build: programs are in $build/bin"
