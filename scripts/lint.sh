#!/usr/bin/env bash
# Runs clang-tidy and looks for calls whose error code is dropped.
set -euo pipefail

usage() {
  cat <<'TEXT'
usage: scripts/lint.sh [--all | --last N | FILES]

Runs clang-tidy with .clang-tidy over FILES, or --all sources, or the N .cpp files that commits changed --last, or (default) the
.cpp files changed since origin/main or, without one, by the last commit; about 8 s a file. Every file is read alone, without the precompiled header: one that lacks an
include fails here. Looks in all sources for CUDA, NCCL and HDF5 calls whose result nobody reads. Configures build-lint/.
TEXT
}

cd "$(dirname "${BASH_SOURCE[0]}")/.."
build=build-lint

case "${1:-}" in
  -h | --help) usage; exit 0 ;;
  --all) mapfile -t files < <(git ls-files 'src/*.cpp' 'tools/*.cpp') ;;
  --last)
    [[ ${2:-} =~ ^[1-9][0-9]*$ ]] || { usage >&2; exit 2; }
    # In the order of the commits, newest first; what was removed meanwhile is left out.
    mapfile -t files < <(git log --format= --name-only --diff-filter=d -- 'src/*.cpp' 'tools/*.cpp' \
      | awk '!seen[$0]++' | while read -r file; do [[ ! -e $file ]] || echo "$file"; done | sed -n "1,${2}p")
    ;;
  -*) usage >&2; exit 2 ;;
  "")
    base=$(git rev-parse --verify --quiet origin/main || git rev-parse --verify --quiet HEAD~1 || git rev-parse HEAD)
    mapfile -t files < <(git diff --name-only --diff-filter=d "$base" -- 'src/*.cpp' 'tools/*.cpp')
    ;;
  *) files=("$@") ;;
esac

status=0

# A call that begins a statement drops its error code. What ends the line before tells whether one begins here.
dropped=$(git ls-files 'src/*.cpp' 'src/*.cu' 'src/*.h' 'src/*.cuh' 'tools/*.cpp' | xargs -r awk '
  FNR == 1 { before = ";" }
  /^[ \t]*(::)?(cuda|cublas|cudnn|nccl|H5)[A-Z][A-Za-z0-9_]*[ \t]*\(/ && before ~ /[;{})]$/ { print FILENAME ":" FNR ": " $0 }
  !/^[ \t]*(\/\/.*)?$/ { before = $0; sub(/[ \t]*\/\/.*$/, "", before) }')
if [[ -n $dropped ]]; then
  echo "$dropped" >&2
  echo "lint: these calls drop their error code" >&2
  status=1
fi

if [[ ${#files[@]} -gt 0 ]]; then
  command -v clang-tidy >/dev/null || { echo "lint: clang-tidy is missing: run scripts/setup.sh --dev" >&2; exit 1; }
  cmake -S . -B "$build" -G Ninja -DLORSA_FAST_BUILD=OFF -DLORSA_CUDA=OFF >/dev/null
  # Sources of the CUDA plug-in are in no build without CUDA (or in the emulation's, whose headers that makes): compilers alone read them.
  mapfile -t files < <(for file in "${files[@]}"; do
    grep -F "/$file\"" "$build/compile_commands.json" | grep -qv /cuda_backend.cpp && echo "$file"
  done)
fi
if [[ ${#files[@]} -gt 0 ]]; then
  printf '%s\n' "${files[@]}" | xargs -P "$(nproc)" -n 1 clang-tidy -p "$build" --quiet \
    2> >(grep -v ' warnings\? generated\.$' >&2) || status=1
fi
[[ $status -ne 0 ]] || echo "lint: ${#files[@]} files checked by clang-tidy"
exit "$status"
