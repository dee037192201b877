#!/usr/bin/env bash
# Times three Lorsas of different seeds trained on one stream (sweep:) against the three trained one after the other, in turn, ROUNDS
# (3) times, and prints the ratio of the medians. Needs the quickstart's cache (scripts/quickstart.sh). Results: quickstart/sweep/.
set -euo pipefail
cd "$(dirname "$0")/../.."
bin=${LORSA_BUILD_DIR:-build}/bin
tokens=${TOKENS:-80k}

train() { # NAME OVERRIDES: seconds from start to end of the trainer's steps
  local run=quickstart/sweep/$1
  shift
  rm -rf "$run"
  "$bin/lorsa-train" configs/smollm2-train.yaml --quiet --set "run.out=$run" --set "train.tokens=$tokens" --set train.warmup_tokens=8k \
    --set train.k_anneal_tokens=16k "$@" >/dev/null
  find "$run" -path '*/final/lorsa.json' | sort | head -n 1 | xargs grep -oE '"seconds": ?[0-9.]+' | grep -oE '[0-9.]+$'
}

mkdir -p quickstart/sweep
rm -f quickstart/sweep/rounds
for round in $(seq "${ROUNDS:-3}"); do
  alone=()
  for seed in 0 1 2; do
    alone+=("$(train "seed-$seed" --set "run.seed=$seed" --set data.seed=0)")
  done
  together=$(train together --set 'sweep.seed=[0, 1, 2]' --set data.seed=0)
  echo "round $round: alone ${alone[*]} s, together $together s"
  echo "${alone[*]} $together" >>quickstart/sweep/rounds
done
python3 - <<'PY'
from statistics import median
rounds = [list(map(float, line.split())) for line in open("quickstart/sweep/rounds")]
alone, together = median(sum(times[:3]) for times in rounds), median(times[3] for times in rounds)
print(f"three alone {alone:.1f} s, one sweep of three {together:.1f} s: {alone / together:.2f}")
PY
