#!/usr/bin/env bash
# Shows that everything works where there is no CUDA toolkit, on a machine that has one.
set -euo pipefail

usage() {
  cat <<'TEXT'
usage: scripts/test_no_cuda.sh [--configure-only]

Hides nvcc (PATH gets links to every program but the toolkit's), builds into build-no-cuda with LORSA_CUDA=AUTO, checks
that no program loads a CUDA library, runs the tests and a short quickstart (quickstart/run-80k).
TEXT
}

configure_only=
case "${1:-}" in
  "") ;;
  --configure-only) configure_only=1 ;;
  -h | --help) usage; exit 0 ;;
  *) usage >&2; exit 2 ;;
esac

cd "$(dirname "${BASH_SOURCE[0]}")/.."
export LORSA_BUILD_DIR=$PWD/build-no-cuda
export LORSA_CUDA=AUTO
unset CUDACXX CUDA_HOME CUDA_PATH CUDA_ROOT CUDAToolkit_ROOT

# In the build folder, because cmake remembers where it found its programs.
farm=$LORSA_BUILD_DIR/path
rm -rf "$farm"
mkdir -p "$farm"
IFS=: read -ra folders <<<"$PATH"
for ((i = ${#folders[@]} - 1; i >= 0; --i)); do  # earlier folders win
  # A toolkit's own folder is left out whole.
  [[ -d ${folders[i]} && ! -x ${folders[i]}/ptxas ]] || continue
  programs=()
  for program in "${folders[i]}"/*; do
    [[ ! -f $program || ! -x $program || ${program##*/} == nvcc* ]] || programs+=("$program")
  done
  [[ ${#programs[@]} -eq 0 ]] || ln -sf -t "$farm" "${programs[@]}"
done
export PATH=$farm
if command -v nvcc >/dev/null; then
  echo "test_no_cuda: nvcc is still in PATH" >&2
  exit 1
fi

if [[ -n $configure_only ]]; then
  cmake -S . -B "$LORSA_BUILD_DIR" -G Ninja "-DLORSA_CUDA=$LORSA_CUDA"
else
  scripts/build.sh
fi
if grep -q '^CMAKE_CUDA_COMPILER:[A-Z]*=..*nvcc' "$LORSA_BUILD_DIR/CMakeCache.txt"; then
  echo "test_no_cuda: cmake found a CUDA compiler all the same" >&2
  exit 1
fi
[[ -z $configure_only ]] || exit 0

for program in "$LORSA_BUILD_DIR"/bin/lorsa-*; do
  if ldd "$program" | grep -E 'torch_cuda|c10_cuda|libcuda\.'; then
    echo "test_no_cuda: $program loads CUDA libraries" >&2
    exit 1
  fi
done
scripts/test.sh
rm -rf quickstart/run-80k quickstart/eval-80k.json quickstart/dump-80k
scripts/quickstart.sh --tokens 80k
echo "test_no_cuda: built, tested and ran without a CUDA toolkit"
