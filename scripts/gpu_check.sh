#!/usr/bin/env bash
# Checks and times the project on a machine with a CUDA device, which needs neither network nor Debian packages.
set -euo pipefail

# Order, and seconds at most. Those that tell most come first, for a machine that is there for minutes only: whether it is right, then
# how fast step, training and kernels are, then what only a fault makes interesting.
phases=(build gpu train nccl bench-step bench-train bench-kernels memcheck racecheck torchrun unit)
declare -A limits=(
  [build]=300 [gpu]=80 [train]=40 [nccl]=30 [bench-step]=120 [bench-train]=120 [bench-kernels]=40 [memcheck]=120
  [racecheck]=120 [torchrun]=60 [unit]=120)
unit_tests=(test_kernels test_contract test_dist test_train test_model)
declare -A targets=(
  [gpu]=test_gpu [nccl]=test_gpu [torchrun]=test_gpu [train]="lorsa-cache lorsa-train lorsa_cuda"
  [bench-step]="lorsa-bench-step lorsa_cuda" [bench-train]="lorsa-bench-step lorsa-train lorsa_cuda" [bench-kernels]=test_gpu
  [memcheck]=test_gpu [racecheck]=test_gpu [unit]="${unit_tests[*]}")

usage() {
  cat <<TEXT
usage: scripts/gpu_check.sh pack
       scripts/gpu_check.sh run [--out FOLDER] [--only PHASE,...] [--skip PHASE,...] [--limit SECONDS]

pack  On the developing machine (scripts/setup.sh has run): collects the libraries that the project needs in gpu-deps/,
      to be copied to the other machine together with the sources.
run   On the machine with the device: builds with gpu-deps/ (without it, with the packages of the machine), runs the
      phases and prints one summary. Exit code 1 where a phase did not pass.

  --out     where summary.txt, logs.txt and step.json go            (build-gpu/check)
  --only    these phases, and the build of what they need
  --skip    all but these; a skipped build is one that is there
  --limit   seconds for all of it; what is left then does not run   (570)

Phases: ${phases[*]}
Needs a python3 with torch 2.11.0 for CUDA, nvcc, g++, cmake 3.25 and ninja. Environment:
  LORSA_PYTHON      the Python whose torch is taken     (python3)
  LORSA_BUILD_DIR   build folder                        (build-gpu)
  LORSA_JOBS        compilers at a time                 (one a core, but 2 GiB of memory for each)
TEXT
}

fail() { echo "gpu_check: $*" >&2; exit 2; }

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
build=${LORSA_BUILD_DIR:-$root/build-gpu}
python=${LORSA_PYTHON:-python3}
out=
limit=570
chosen=("${phases[@]}")

known() { # PHASES, comma-separated
  local phase
  for phase in ${1//,/ }; do
    [[ -n ${limits[$phase]:-} ]] || fail "there is no phase '$phase'; there are: ${phases[*]}"
  done
}

parse() {
  local only="" skip="" phase
  while [[ $# -gt 0 ]]; do
    [[ $1 == --help || $1 == -h || $# -gt 1 ]] || { usage >&2; exit 2; }
    case "$1" in
      --out) out=$2 ;;
      --only) only=$2 ;;
      --skip) skip=$2 ;;
      --limit) limit=$2 ;;
      -h | --help) usage; exit 0 ;;
      *) usage >&2; exit 2 ;;
    esac
    shift 2
  done
  [[ $limit =~ ^[0-9]+$ ]] || fail "--limit: expected seconds, found '$limit'"
  known "$only,$skip"
  chosen=()
  for phase in "${phases[@]}"; do
    [[ -z $only || $phase == build || ,$only, == *,$phase,* ]] || continue
    [[ ,$skip, == *,$phase,* ]] || chosen+=("$phase")
  done
}

# Runs a command in what is left of the phase's time.
limited() {
  local left=$((deadline - SECONDS))
  [[ $left -gt 0 ]] || return 124
  timeout -k 10 "$left" "$@"
}

device_property() { nvidia-smi "--query-gpu=$1" --format=csv,noheader 2>/dev/null | head -n 1; }

phase_build() {
  local torch architecture memory_gib jobs options=() phase names wanted=()
  torch=$("$python" -c 'from importlib.util import find_spec as f; print(*f("torch").submodule_search_locations)') \
    || { echo "$python has no torch"; return 1; }
  # From 9.0 on the kernels may use instructions that only the "a" targets have.
  architecture=$(device_property compute_cap)
  architecture=${architecture/./}
  architecture=${architecture:-90}
  [[ $architecture -lt 90 ]] || architecture+=a
  command -v nvcc >/dev/null || export CUDACXX=${CUDACXX:-/usr/local/cuda/bin/nvcc}
  [[ ! -d $root/gpu-deps ]] || options+=("-DCMAKE_PROJECT_TOP_LEVEL_INCLUDES=$root/scripts/gpu/packed.cmake")
  limited cmake -S "$root" -B "$build" -G Ninja "-DLORSA_TORCH_ROOT=$torch" -DLORSA_CUDA=ON -DLORSA_MPI=OFF \
    "-DCMAKE_CUDA_ARCHITECTURES=$architecture" "${options[@]}" || return
  memory_gib=$(($(awk '/^MemTotal:/ {print $2}' /proc/meminfo) / 1024 / 1024))
  jobs=$(nproc)
  [[ $jobs -le $((memory_gib / 2)) ]] || jobs=$((memory_gib / 2 > 0 ? memory_gib / 2 : 1))
  # Alone, it builds for all of them.
  [[ ${#chosen[@]} -gt 1 ]] || chosen=("${phases[@]}")
  for phase in "${chosen[@]}"; do
    read -ra names <<<"${targets[$phase]:-}"
    wanted+=("${names[@]}")
  done
  # What can be built is built, so that the other phases run.
  CCACHE_BASEDIR=$root CCACHE_NOHASHDIR=1 CCACHE_SLOPPINESS=pch_defines,time_macros limited ninja -C "$build" -k 0 -j "${LORSA_JOBS:-$jobs}" "${wanted[@]}"
}

# The communicator has phases of its own: it may hang where the kernels do not.
phase_gpu() { limited "$build/bin/test_gpu" --warn NoAssertions '~[nccl]~[.]'; }

phase_nccl() { limited env NCCL_DEBUG=WARN "$build/bin/test_gpu" --warn NoAssertions --warn NoTests '[nccl]'; }

phase_torchrun() {
  limited env NCCL_DEBUG=WARN "$python" -m torch.distributed.run --standalone --local-addr 127.0.0.1 \
    --nproc-per-node 1 --no-python "$build/bin/test_gpu" --warn NoAssertions --warn NoTests '[nccl]'
}

# The same training on the CPU and on the device.
phase_train() {
  local golden=$root/tests/golden/collect work=$build/check-train device
  rm -rf "$work"
  mkdir -p "$work"
  cd "$work"
  for _ in {1..8}; do cat "$golden/corpus.jsonl"; done >corpus.jsonl
  cat >cache.yaml <<YAML
layers: [1]
model:  {path: $golden/model}
data:   {files: [corpus.jsonl], context_length: 16, holdout_fraction: 0.2}
out:    {path: cache, dtype: float32}
run:    {device: cpu, batch_sequences: 4}
YAML
  limited "$build/bin/lorsa-cache" extract cache.yaml --quiet || return
  local heads width
  heads=$(grep -oE '"num_attention_heads": [0-9]+' "$golden/model/config.json" | grep -oE '[0-9]+')
  width=$(grep -oE '"head_dim": [0-9]+' "$golden/model/config.json" | grep -oE '[0-9]+')
  cat >train.yaml <<YAML
data:   {cache: cache/layer-1, batch_sequences: 8}
model:  {num_ov_heads: $((heads * 8)), num_qk_heads: $heads, d_qk: $width, top_k: 4}
init:   {qk: mhsa, ov: active_subspace, norm_search: true}
train:  {tokens: 6400, learning_rate: 1.0e-3, initial_k: 8, k_anneal_tokens: 1280}
checkpoint: {every_tokens: 1280, keep: 2}
log:    {every_tokens: 1280}
YAML
  for device in cpu cuda; do
    limited "$build/bin/lorsa-train" train.yaml --set "run.device=$device" --set "run.out=$device" \
      --set run.precision=float32 || return
  done
  # One head that is kept on one of the two and not on the other changes the fourth digit.
  limited "$python" "$root/tests/dist/compare_runs.py" cuda cpu 1e-2
}

phase_bench-kernels() { limited "$build/bin/test_gpu" --warn NoTests '[benchmark]'; }

# lorsa-train end to end beside its step.
phase_bench-train() { limited env "LORSA_BUILD_DIR=$build" "$root/scripts/bench/train.sh" --device cuda; }

phase_bench-step() { limited "$build/bin/lorsa-bench-step" --device cuda --out "$out/step.json"; }

# Without LibTorch's pool every tensor is an allocation, whose end memcheck sees. Only our own kernels are watched.
sanitized() { # TOOL OPTIONS
  local sanitizer
  sanitizer=$(command -v compute-sanitizer || command -v "$(dirname "$(command -v nvcc)")/compute-sanitizer") \
    || { echo "there is no compute-sanitizer"; return 1; }
  limited env PYTORCH_NO_CUDA_MEMORY_CACHING=1 "$sanitizer" --tool "$@" --kernel-name kns=lorsa --error-exitcode 99 \
    "$build/bin/test_gpu" --warn NoTests '[kernels]'
}

phase_memcheck() { sanitized memcheck --report-api-errors no --padding 32; }

phase_racecheck() { sanitized racecheck; }

phase_unit() {
  local test status=0 passed=0
  for test in "${unit_tests[@]}"; do
    echo "#### $test"
    if limited "$build/bin/$test" --warn NoAssertions; then passed=$((passed + 1)); else status=$?; fi
  done
  echo "$passed of ${#unit_tests[@]} test programs passed"
  return "$status"
}

# The least and the most of a column of a phase's Markdown table, of the rows that match.
spread() { # LOG COLUMN [ROWS]
  awk -F ' *[|] *' -v column="$2" -v rows="${3:-.}" '
    !/^[|]/ { at = 0; next }
    !at { for (i = 2; i < NF; ++i) if ($i == column) at = i; next }
    /^[|]-/ || $0 !~ rows || $at !~ /[0-9]/ { next }
    !n++ { low = high = $at + 0 }
    { low = $at < low ? $at + 0 : low; high = $at > high ? $at + 0 : high }
    END { if (n) printf low == high ? "%.2f" : "%.2f to %.2f", low, high }' "$1"
}

# What the table says of a benchmark: the shares that count.
shares() { # PHASE LOG
  case "$1" in
    bench-step) echo "step $(spread "$2" 'share of floor') of its floor, $(spread "$2" 'share of kept floor') of the kept heads'" ;;
    bench-train) echo "lorsa-train $(spread "$2" 'train / step') of its step" ;;
    bench-kernels) echo "of a copy's rate: top-k $(spread "$2" 'share of copy' top_k), decode $(spread "$2" 'share of copy' decode)" ;;
  esac
}

# What the table says of a phase beside passed or failed: the last line of its log that says something.
finding() { # LOG
  grep -oE '^\[[0-9]+/[0-9]+\]|All tests passed.*|test cases:.*|[0-9]+ of [0-9]+ test programs passed|(ERROR|RACECHECK) SUMMARY.*|relative difference of .*|[0-9]+ usable CUDA devices.*|there is no .*|.* has no torch|.*(CMake |[a-z]+: |Assertion)[Ee]rror.*' \
    "$1" | tail -n 1 | cut -c 1-100 || true
}

run_phase() {
  local name=$1 status=0 verdict=passed said start=$SECONDS left=$((limit - SECONDS)) log=$build/check/$1.log
  deadline=$((SECONDS + (limits[$name] < left ? limits[$name] : left)))
  if [[ $left -lt 10 ]]; then
    rows+=("$(printf '%-14s not run         no time left' "$name")")
    failures=$((failures + 1))
    return
  fi
  echo "gpu_check: $name"
  # A subshell of its own, because bash leaves errexit off where a status is asked for.
  (set +e; "phase_$name") >"$log" 2>&1 </dev/null || status=$?
  said=$(finding "$log")
  case "$status" in
    0) [[ $name != bench-* ]] || said=$(shares "$name" "$log") ;;
    77) verdict=failed said="no CUDA device" ;;
    124 | 137) verdict="timed out" ;;
    127) verdict=failed said="its program is not there" ;;
    *) verdict=failed said="exit code $status${said:+; $said}" ;;
  esac
  if [[ $verdict != passed ]]; then
    failures=$((failures + 1))
    # A compiler's errors stand anywhere in a build of many files.
    { grep -E ': (fatal )?error|undefined reference' "$log" | head -n 8 || true; tail -n 15 "$log"; } | cut -c 1-200 | sed 's/^/    /'
  fi
  rows+=("$(printf '%-14s %-9s %4d s  %s' "$name" "$verdict" $((SECONDS - start)) "$said")")
  { printf '\n#### %s: %s\n' "$name" "$verdict"; tail -c 1000000 "$log"; } >>"$out/logs.txt"
}

summary() {
  local name
  printf '\n#### %s, driver %s; %s; %s\n' "$(device_property name | grep . || echo 'no CUDA device')" \
    "$(device_property driver_version | grep . || echo none)" "$(date -u '+%F %H:%M UTC')" \
    "$([[ -d $root/gpu-deps ]] && echo 'libraries of gpu-deps' || echo 'libraries of the machine')"
  printf '%d cores, g++ %s, nvcc %s, cmake %s, torch %s\n\n' "$(nproc)" "$(g++ -dumpfullversion)" \
    "$(nvcc --version 2>/dev/null | sed -n 's/.*release \([0-9.]*\).*/\1/p')" \
    "$(cmake --version | sed -n '1s/.* //p')" \
    "$("$python" -c 'from importlib.metadata import version as v; print(v("torch"))' 2>/dev/null || echo none)"
  printf '%s\n' "${rows[@]}"
  for name in bench-step bench-train bench-kernels; do
    if [[ " ${chosen[*]} " == *" $name "* ]] && grep -q '^|' "$build/check/$name.log" 2>/dev/null; then
      printf '\n%s\n' "$name"
      grep '^|' "$build/check/$name.log"
    fi
  done
}

run() {
  parse "$@"
  out=$(realpath -m "${out:-$build/check}")
  mkdir -p "$build/check" "$out"
  # A phase that fails before its end must not leave the log of another run.
  rm -f "$build"/check/*.log "$out"/{summary.txt,logs.txt,step.json}
  rows=()
  failures=0
  local phase
  for phase in "${chosen[@]}"; do
    run_phase "$phase"
    # After every one: whoever stops this script early finds what it knows.
    summary >"$out/summary.txt"
  done
  cat "$out/summary.txt"
  printf '\ngpu_check: %d of %d phases did not pass; %d s; %s\n' "$failures" "${#chosen[@]}" "$SECONDS" "$out"
  [[ $failures -eq 0 ]]
}

case "${1:-}" in
  pack) [[ $# -eq 1 ]] || { usage >&2; exit 2; }; exec "$root/scripts/gpu/pack.sh" ;;
  run) shift; run "$@" ;;
  -h | --help) usage ;;
  *) usage >&2; exit 2 ;;
esac
