#!/usr/bin/env bash
# A training step of this library against the authors' on trained weights and real activations of width 768.
set -euo pipefail

usage() {
  cat <<'TEXT'
usage: PYTHONPATH=PEER scripts/bench/authors.sh [--out FOLDER] [OPTIONS OF authors_step.py]

Widens SmolLM2-135M to 768 (scripts/bench/widen_model.py), caches its layer 17, trains a Lorsa of 6,144 OV and 96 QK heads, K 64, on that
and times steps of both libraries with it (scripts/bench/authors_step.py, whose help says how PEER is made). Corpus, tokens and
other settings are the quickstart's. What is there and finished is not done again, what was interrupted goes on.

  --out FOLDER   where all of it goes   (build/authors)
TEXT
}

cd "$(dirname "${BASH_SOURCE[0]}")/../.."
build=${LORSA_BUILD_DIR:-build}
out=build/authors
case "${1:-}" in
  -h | --help) usage; exit 0 ;;
  --out) [[ $# -ge 2 ]] || { usage >&2; exit 2; }; out=$2; shift 2 ;;
esac
python=.venv/bin/python
cache=$out/cache/layer-17

LORSA_BUILD_DIR=$build scripts/build.sh lorsa-cache lorsa-train lorsa-bench-step
"$python" -c 'import importlib.util, sys; sys.exit(importlib.util.find_spec("llamascopium") is None)' || { usage >&2; exit 2; }
scripts/fetch_smollm2.sh
[[ -s quickstart/corpus.jsonl ]] || "$python" scripts/make_corpus.py quickstart/corpus.jsonl
[[ -s $out/model/config.json ]] || "$python" scripts/bench/widen_model.py quickstart/model "$out/model"
grep -Eqs '"complete": *true' "$cache/manifest.json" \
  || "$build/bin/lorsa-cache" extract configs/smollm2-cache.yaml --set "model.path=$out/model" --set "out.path=$out/cache"
[[ -s $out/run/final/lorsa.json ]] \
  || "$build/bin/lorsa-train" configs/smollm2-train.yaml --set "run.out=$out/run" --set "data.cache=$cache" \
    --set model.num_ov_heads=6144 --set model.num_qk_heads=96 --set model.top_k=64
exec "$python" scripts/bench/authors_step.py --work "$out/step" --checkpoint "$out/run/final" --cache "$cache" "$@"
