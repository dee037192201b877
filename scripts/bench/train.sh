#!/usr/bin/env bash
# lorsa-train end to end beside its step.
set -euo pipefail

usage() {
  cat <<'TEXT'
usage: scripts/bench/train.sh [--device cpu|cuda] [--size D,H,S,E,K,T,BATCH]... [--threads N] [--rounds N]
       [--work FOLDER]

Trains on a cache of random bfloat16 activations and prints lorsa-train's tokens/s (metrics.jsonl, without its first line) beside
those of lorsa-bench-step on the same size, in turn: what reading, converting, copying and counting cost a training beside its
step. Medians of 4 lines of 10 steps, and of 40 steps. The training is ended before it writes a checkpoint.
Needs lorsa-train and lorsa-bench-step (scripts/build.sh); with --device cuda also lorsa_cuda.

  --size      may be repeated                  (cpu: 768,6144,96,64,64,256,4; cuda: Llama-3.1-8B's with 8, 16 and 64 sequences)
  --threads   of each                          (all)
  --rounds    of step and training in turn     (cpu 3, cuda 1)
  --work      in which cache and run get a folder, removed at the end   (build)
TEXT
}

fail() { echo "train: $*" >&2; exit 1; }

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
build=${LORSA_BUILD_DIR:-$root/build}
device=cpu sizes=() threads="" rounds="" work=$build
while [[ $# -gt 0 ]]; do
  [[ $1 != -h && $1 != --help ]] || { usage; exit 0; }
  [[ $# -gt 1 ]] || { usage >&2; exit 2; }
  case "$1" in
    --device) device=$2 ;;
    --size) sizes+=("$2") ;;
    --threads) threads=$2 ;;
    --rounds) rounds=$2 ;;
    --work) work=$2 ;;
    *) usage >&2; exit 2 ;;
  esac
  shift 2
done
threads=${threads:-$(nproc)}
if [[ $device == cuda ]]; then
  [[ ${#sizes[@]} -gt 0 ]] || sizes=("4096,32768,256,128,64,1024,"{8,16,64})
  rounds=${rounds:-1}
else
  [[ ${#sizes[@]} -gt 0 ]] || sizes=("768,6144,96,64,64,256,4")
  rounds=${rounds:-3}
fi
lines=4          # of metrics.jsonl, behind the first
steps_a_line=10

training=
# What is killed writes no gigabytes first; nothing of it is wanted.
end_training() { [[ -z $training ]] || { kill -KILL "$training" && wait "$training"; training=; } 2>/dev/null || true; }
work=$(mktemp -d "$work/bench-train-XXXXXX")
trap 'end_training; rm -rf "$work"' EXIT
trap 'exit 75' INT TERM

median() { sort -g | awk '{v[NR] = $1} END {print v[int((NR + 1) / 2)]}'; }

step_rate() { # TOKENS OF A STEP, SIZE: step, in tokens/s; two steps of warm-up are left out
  seq $((lines * steps_a_line + 2)) \
    | "$build/bin/lorsa-bench-step" --driven --device "$device" --threads "$threads" --size "$2" >"$work/steps" 2>"$work/step.log" \
    || fail "lorsa-bench-step: $(tail -n 3 "$work/step.log")"
  step=$(awk -v tokens="$1" 'NR > 2 {print tokens / $1}' "$work/steps" | median)
}

field() { grep -oE "\"$1\": ?[0-9.e+-]+" "$work/metrics" | sed 's/.*: *//' | median; } # of the lines behind the first

train_rate() { # TOKENS OF A STEP, SIZE: train, in tokens/s, and waited, the seconds of a line that were waited for data
  local D H S E K T B
  IFS=, read -r D H S E K T B <<<"$2"
  rm -rf "$work/run"
  cat >"$work/train.yaml" <<YAML
run:    {out: $work/run, device: $device, threads: $threads}
data:   {cache: $work/cache-$D-$T, batch_sequences: $B}
model:  {num_ov_heads: $H, num_qk_heads: $S, d_qk: $E, top_k: $K}
init:   {qk: random, ov: random, norm_search: false}
train:  {tokens: 1000000000000, learning_rate: 1.0e-6}
checkpoint: {every_tokens: 1000000000000}
log:    {every_tokens: $(($1 * steps_a_line))}
YAML
  "$build/bin/lorsa-train" "$work/train.yaml" --quiet >"$work/train.log" 2>&1 &
  training=$!
  until [[ $(wc -l 2>/dev/null <"$work/run/metrics.jsonl" || echo 0) -gt $lines ]]; do
    kill -0 "$training" 2>/dev/null || { training=; fail "lorsa-train: $(tail -n 3 "$work/train.log")"; }
    sleep 0.2
  done
  end_training
  sed -n "2,$((lines + 1))p" "$work/run/metrics.jsonl" >"$work/metrics"
  train=$(field tokens_per_s) waited=$(field data_wait_s)
}

header="| D,H,S,E,K,T,batch | device | lorsa-train tokens/s | step tokens/s | train / step | waiting for data |
|---|---|---|---|---|---|"
for size in "${sizes[@]}"; do
  IFS=, read -r D _ _ _ _ T B <<<"$size"
  # Of all sizes with this width and context, the largest batch comes to its rows here.
  most=0
  for other in "${sizes[@]}"; do
    [[ $other != "$D,"*",$T,"* || ${other##*,} -le $most ]] || most=${other##*,}
  done
  cache=$work/cache-$D-$T
  tokens=$((T * B))
  : >"$work/rates"
  for ((round = 0; round < rounds; ++round)); do
    step_rate "$tokens" "$size"
    [[ -d $cache ]] || "$build/bin/lorsa-bench-step" --size "$size" --cache-out "$cache" --rows $((most > 16 ? 4 * most : 64)) >&2
    train_rate "$tokens" "$size"
    echo "$step $train $waited" >>"$work/rates"
  done
  step=$(cut -d ' ' -f 1 "$work/rates" | median)
  train=$(cut -d ' ' -f 2 "$work/rates" | median)
  waited=$(cut -d ' ' -f 3 "$work/rates" | median)
  [[ -z $header ]] || echo "$header"
  header=""
  [[ $device == cuda ]] && on=cuda || on="cpu, threads $threads"
  awk -v size="$size" -v on="$on" -v train="$train" -v step="$step" -v waited="$waited" \
    -v tokens=$((tokens * steps_a_line)) 'BEGIN {
      printf "| %s | %s | %.0f | %.0f | %.2f | %.1f %% |\n", size, on, train, step, train / step, 100 * waited * train / tokens
    }'
done
