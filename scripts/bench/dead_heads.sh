#!/usr/bin/env bash
# Trains SmolLM2's layer 17 from random OV weights without and with AuxK and prints dead heads and fvu of both.
# Needs the quickstart's cache (scripts/quickstart.sh). AUX_K is the number of dead heads (1024); arguments go to both trainings,
# such as --set init.qk=random. Results: quickstart/dead-heads/.
set -euo pipefail
cd "$(dirname "$0")/../.."
bin=${LORSA_BUILD_DIR:-build}/bin
out=${OUT:-quickstart/dead-heads}
for aux_k in 0 "${AUX_K:-1024}"; do
  run=$out/aux-$aux_k
  "$bin/lorsa-train" configs/smollm2-train.yaml --quiet --set "run.out=$run" --set init.ov=random --set train.initial_k=0 \
    --set train.k_anneal_tokens=0 --set train.dead_after_tokens=2k --set train.aux_coefficient=4 --set "train.aux_k=$aux_k" \
    "$@" >/dev/null
  "$bin/lorsa-eval" "$run/final" --cache quickstart/cache/layer-17 --quiet --out "$run/eval.json" >/dev/null
  .venv/bin/python - "$run" "$aux_k" <<'PY'
import json, pathlib, sys
run, aux_k = pathlib.Path(sys.argv[1]), sys.argv[2]
line = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])
judged = json.loads((run / "eval.json").read_text())
print(f"aux_k {aux_k:>4}: dead in the last 100k tokens {line['dead_fraction']:.3f}; held out: fvu {judged['fvu']:.4f}, "
      f"silent {judged['dead_fraction']:.3f}, l0 {judged['l0']:.1f}")
PY
done
