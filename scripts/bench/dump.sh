#!/usr/bin/env bash
# Times lorsa-dump on the quickstart's data against the forward pass alone over the same rows, in turn, ROUNDS (5) times, and prints
# the medians, their ratios and the dump's peak memory. Needs the quickstart's results (scripts/quickstart.sh); CHECKPOINT is
# quickstart/run/final if not set. OMP_NUM_THREADS holds for both.
set -euo pipefail
cd "$(dirname "$0")/../.."
build=${LORSA_BUILD_DIR:-build}
checkpoint=${CHECKPOINT:-quickstart/run/final}
cache=${CACHE:-quickstart/cache/layer-17}
LORSA_BUILD_DIR=$build scripts/build.sh lorsa-bench-dump lorsa-dump >/dev/null
scratch=$(mktemp -d "${TMPDIR:-/tmp}/lorsa-dump-XXXXXX")
trap 'rm -rf "$scratch"' EXIT

for round in $(seq "${ROUNDS:-5}"); do
  forward=$("$build/bin/lorsa-bench-dump" "$checkpoint" "$cache")
  start=$(date +%s%N)
  "$build/bin/lorsa-dump" "$checkpoint" --cache "$cache" --model quickstart/model --out "$scratch/dump" --quiet >"$scratch/report"
  echo "$forward $((($(date +%s%N) - start) / 1000000))" >>"$scratch/rounds"
  cat "$scratch/report" >>"$scratch/reports"
done
python3 - "$scratch" <<'PY'
import re, statistics, sys
reports = open(sys.argv[1] + "/reports").read()
rounds = [list(map(float, line.split())) for line in open(sys.argv[1] + "/rounds")]
def numbers(pattern):
    return [float(number) * {"": 1, "k": 1e3, "M": 1e6}[unit] for number, unit in re.findall(pattern + r" ([0-9.]+)([kM]?)", reports)]
tokens = int(re.search(r"tokens +(\d+)", reports)[1])
forward = statistics.median(rate for rate, _ in rounds)
whole = statistics.median(tokens / ms * 1e3 for _, ms in rounds)
rows = statistics.median(numbers("the pass over the rows"))
print(f"forward pass alone {forward:.0f} tokens/s")
print(f"lorsa-dump         {whole:.0f} tokens/s, {whole / forward:.2f} of it (the whole command)")
print(f"its pass over rows {rows:.0f} tokens/s, {rows / forward:.2f} of it")
print(re.findall(r"memory .*", reports)[-1])
PY
