#!/usr/bin/env bash
# Times three Lorsas of different seeds trained on one stream (lorsa-sweep) against the three trained one after the other, in turn, ROUNDS
# (3) times, and prints the ratio of the medians. Needs the quickstart's cache (scripts/quickstart.sh). Results: quickstart/sweep/.
set -euo pipefail
cd "$(dirname "$0")/../.."
bin=${LORSA_BUILD_DIR:-build}/bin
tokens=${TOKENS:-80k}

settings=("train.tokens=$tokens" train.warmup_tokens=8k train.k_anneal_tokens=16k data.seed=0)

seconds() { # FOLDER: from start to end of the trainer's steps
  find "$1" -path '*/final/lorsa.json' | sort | head -n 1 | xargs grep -oE '"seconds": ?[0-9.]+' | grep -oE '[0-9.]+$'
}

mkdir -p quickstart/sweep
cat >quickstart/sweep/sweep.yaml <<YAML
sweep:
  out: quickstart/sweep/together
  train: configs/smollm2-train.yaml
  set: [$(IFS=,; echo "${settings[*]}")]
  axes: ["run.seed=[0, 1, 2]"]
measure: {eval: false}
YAML
rm -f quickstart/sweep/rounds
for round in $(seq "${ROUNDS:-3}"); do
  rm -rf quickstart/sweep/seed-* quickstart/sweep/together
  alone=()
  for seed in 0 1 2; do
    run=quickstart/sweep/seed-$seed
    "$bin/lorsa-train" configs/smollm2-train.yaml --quiet --set "run.out=$run" --set "run.seed=$seed" "${settings[@]/#/--set=}" >/dev/null
    alone+=("$(seconds "$run")")
  done
  "$bin/lorsa-sweep" quickstart/sweep/sweep.yaml --quiet >/dev/null
  together=$(seconds quickstart/sweep/together)
  echo "round $round: alone ${alone[*]} s, together $together s"
  echo "${alone[*]} $together" >>quickstart/sweep/rounds
done
python3 - <<'PY'
from statistics import median
rounds = [list(map(float, line.split())) for line in open("quickstart/sweep/rounds")]
alone, together = median(sum(times[:3]) for times in rounds), median(times[3] for times in rounds)
print(f"three alone {alone:.1f} s, one sweep of three {together:.1f} s: {alone / together:.2f}")
PY
