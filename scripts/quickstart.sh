#!/usr/bin/env bash
# From nothing to trained, evaluated and browsable heads of a real language model.
set -euo pipefail

usage() {
  cat <<'TEXT'
usage: scripts/quickstart.sh [--tokens N]

Builds lorsa, fetches SmolLM2-135M, caches activations of its layer 17, trains a Lorsa on them, evaluates it on held-out
documents and dumps its heads. Everything it makes lies in quickstart/. What is there and finished is not done again.

  --tokens N   train on N tokens (such as 120k, at least 60k) instead of 400k; results get the suffix -N
TEXT
}

tokens=
while [[ $# -gt 0 ]]; do
  case "$1" in
    --tokens) [[ $# -ge 2 ]] || { usage >&2; exit 2; }; tokens=$2; shift 2 ;;
    --tokens=*) tokens=${1#*=}; shift ;;
    -h | --help) usage; exit 0 ;;
    *) usage >&2; exit 2 ;;
  esac
done
if [[ -n $tokens && ! $tokens =~ ^[0-9]+[kM]?$ ]]; then
  echo "quickstart: --tokens $tokens: expected a count such as 400000, 400k or 1M" >&2
  exit 2
fi

cd "$(dirname "${BASH_SOURCE[0]}")/.."
bin=${LORSA_BUILD_DIR:-build}/bin
suffix=${tokens:+-$tokens}
out=quickstart
model=$out/model
cache=$out/cache/layer-17
run=$out/run$suffix
evaluation=$out/eval$suffix.json
dump=$out/dump$suffix

title() { printf '\n== %s\n' "$*"; }
there() { echo "$1 is there: nothing to do"; }

timed() {
  local start=$SECONDS status=0
  "$@" || status=$?
  if [[ $status -eq 75 ]]; then
    echo "quickstart: stopped; run scripts/quickstart.sh again to go on" >&2
  elif [[ $status -ne 0 ]]; then
    echo "quickstart: failed with exit code $status: $*" >&2
  else
    echo "($((SECONDS - start)) s)"
  fi
  return "$status"
}

title "build"
timed scripts/build.sh lorsa_programs

started=$SECONDS
title "language model"
timed scripts/fetch_smollm2.sh "$model"

title "corpus"
if [[ -s $out/corpus.jsonl ]]; then
  there "$out/corpus.jsonl"
else
  timed .venv/bin/python scripts/make_corpus.py "$out/corpus.jsonl"
fi

title "activations of layer 17"
if grep -Eqs '"complete": *true' "$cache/manifest.json"; then
  there "$cache"
else
  timed "$bin/lorsa-cache" extract configs/smollm2-cache.yaml
fi

title "training"
if [[ -s $run/final/lorsa.json ]]; then
  there "$run/final"
else
  timed "$bin/lorsa-train" configs/smollm2-train.yaml --set "run.out=$run" ${tokens:+--set "train.tokens=$tokens"}
fi

# What was made from an older Lorsa is made again.
title "evaluation on held-out documents"
if [[ $evaluation -nt $run/final/lorsa.json ]]; then
  there "$evaluation"
else
  timed "$bin/lorsa-eval" "$run/final" --cache "$cache" --model "$model" --families --out "$evaluation" --html "${evaluation%.json}.html"
fi

title "dump of the heads"
if [[ $dump/index.json -nt $run/final/lorsa.json ]]; then
  there "$dump"
else
  timed "$bin/lorsa-dump" "$run/final" --cache "$cache" --model "$model" --families --out "$dump"
fi

title "result ($((SECONDS - started)) s after the build)"
.venv/bin/python scripts/quickstart_report.py --run "$run" --eval "$evaluation" --dump "$dump"
