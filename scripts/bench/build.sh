#!/usr/bin/env bash
# What a build costs where nothing is cached, and what a changed line costs.
set -euo pipefail

usage() {
  cat <<'TEXT'
usage: scripts/bench/build.sh [--jobs N] [CASE...]

Builds without a compiler cache in folders below build-bench/ and prints seconds of CPU (user and system, all processes)
and of the clock. Cases (default: all):
  programs   lorsa_programs, without CUDA and tests (what scripts/quickstart.sh builds)
  tests      everything, tests and MPI included, without CUDA
  rebuild    in the folder of tests, one line more in a source and then in a public header of model (touches the tree:
             both files are put back)
  cuda       what CUDA adds to all that, for one architecture (90a): liblorsa_cuda and its tests; needs nvcc
TEXT
}

jobs=$(nproc)
cases=()
while [[ $# -gt 0 ]]; do
  case "$1" in
    --jobs) [[ $# -ge 2 ]] || { usage >&2; exit 2; }; jobs=$2; shift 2 ;;
    -h | --help) usage; exit 0 ;;
    programs | tests | rebuild | cuda) cases+=("$1"); shift ;;
    *) usage >&2; exit 2 ;;
  esac
done
[[ ${#cases[@]} -gt 0 ]] || cases=(programs tests rebuild cuda)

cd "$(dirname "${BASH_SOURCE[0]}")/../.."
export CCACHE_DISABLE=1
root=build-bench
mkdir -p "$root"

configure() { # FOLDER OPTIONS
  local folder=$1
  shift
  rm -rf "$folder"
  cmake -S . -B "$folder" -G Ninja -DLORSA_CUDA=OFF -DLORSA_MPI=OFF -DLORSA_BUILD_TESTS=OFF "$@" >"$folder.log" 2>&1 \
    || { cat "$folder.log" >&2; exit 1; }
}

measured() { # NAME FOLDER TARGETS
  local name=$1 folder=$2 result
  shift 2
  TIMEFORMAT='%R %U %S'
  # The shell's own report holds what all descendants took.
  if ! result=$({ time ninja -C "$folder" -j "$jobs" "$@" >"$folder.build.log" 2>&1; } 2>&1); then
    tail -n 30 "$folder.build.log" >&2
    exit 1
  fi
  awk -v name="$name" '{printf "%-52s %6.0f s of CPU %6.0f s\n", name, $2 + $3, $1}' <<<"$result"
}

rebuild() { # NAME FILE
  local name=$1 file=$2
  cp -p "$file" "$root/kept"
  printf '// one line more\n' >>"$file"
  # shellcheck disable=SC2064
  trap "cp -p '$root/kept' '$PWD/$file'" EXIT
  measured "$name" "$root/tests"
  cp -p "$root/kept" "$file"
  trap - EXIT
}

echo "$jobs jobs; $(grep -m 1 'model name' /proc/cpuinfo | cut -d : -f 2 | xargs)"
for name in "${cases[@]}"; do
  case $name in
    programs)
      configure "$root/programs"
      measured "programs" "$root/programs" lorsa_programs
      ;;
    tests)
      configure "$root/tests" -DLORSA_BUILD_TESTS=ON -DLORSA_MPI=ON
      measured "programs, tests, MPI" "$root/tests"
      ;;
    rebuild)
      [[ -d $root/tests ]] || { echo "build: the case tests comes first" >&2; exit 2; }
      measured "nothing changed" "$root/tests"
      rebuild "a line in src/eval/evaluate.cpp" src/eval/evaluate.cpp
      rebuild "a line in include/lorsa/model/dictionary.h" include/lorsa/model/dictionary.h
      ;;
    cuda)
      configure "$root/cuda" -DLORSA_BUILD_TESTS=ON -DLORSA_MPI=ON -DLORSA_CUDA=ON -DCMAKE_CUDA_ARCHITECTURES=90a
      # What these need and a build without CUDA makes too; not measured, so cached where it can be.
      env -u CCACHE_DISABLE ninja -C "$root/cuda" -j "$jobs" lorsa lorsa_contract lorsa_test_precompiled >"$root/cuda.build.log"
      measured "what CUDA adds for one architecture" "$root/cuda" lorsa_cuda test_gpu
      ;;
  esac
done
