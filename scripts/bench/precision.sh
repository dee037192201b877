#!/usr/bin/env bash
# Trains the quickstart's Lorsa in float32 and with bfloat16 compute and prints fvu on held-out documents, and the share of
# the time that training waited for data. Needs the quickstart's cache; arguments go to both trainings.
set -euo pipefail
cd "$(dirname "$0")/../.."
bin=${LORSA_BUILD_DIR:-build}/bin
for precision in float32 bfloat16; do
  run=quickstart/precision/$precision
  "$bin/lorsa-train" configs/smollm2-train.yaml --quiet --set "run.out=$run" --set "run.precision=$precision" "$@" >/dev/null
  "$bin/lorsa-eval" "$run/final" --cache quickstart/cache/layer-17 --quiet --out "$run/eval.json" >/dev/null
  .venv/bin/python - "$run" "$precision" <<'PY'
import json, pathlib, sys
run, precision = pathlib.Path(sys.argv[1]), sys.argv[2]
lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
parts = {key: sum(line[key] for line in lines) for key in ("data_wait_s", "model_s", "communication_s", "optimizer_s")}
tokens, seconds = lines[-1]["tokens"], lines[-1]["elapsed_s"]
print(f"{precision:>8}: fvu {json.loads((run / 'eval.json').read_text())['fvu']:.4f}, {tokens / seconds:,.0f} tokens/s, "
      f"waiting for data {100 * parts['data_wait_s'] / seconds:.2f} %, model {100 * parts['model_s'] / seconds:.1f} %, "
      f"optimizer {100 * parts['optimizer_s'] / seconds:.1f} %")
PY
done
