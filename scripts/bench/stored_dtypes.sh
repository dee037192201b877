#!/usr/bin/env bash
# What storing activations in fewer bits costs: trains the quickstart's Lorsa on caches of several dtypes and evaluates each on the
# held-out rows of the float32 cache.
#
# usage: scripts/bench/stored_dtypes.sh [DTYPE...]     default: float32 bfloat16 int8
#
# Needs scripts/quickstart.sh to have fetched the model and made the corpus. Works in quickstart/dtypes; what is finished there stays.
set -euo pipefail
cd "$(dirname "$0")/../.."
bin=${LORSA_BUILD_DIR:-build}/bin
out=quickstart/dtypes
dtypes=("$@")
[[ ${#dtypes[@]} -gt 0 ]] || dtypes=(float32 bfloat16 int8)

extract() {
  "$bin/lorsa-cache" extract configs/smollm2-cache.yaml --quiet --set "out.path=$out/$1" --set "out.dtype=$1" >/dev/null
}

mkdir -p "$out"
extract float32
for dtype in "${dtypes[@]}"; do
  extract "$dtype"
  "$bin/lorsa-train" configs/smollm2-train.yaml --quiet --set "run.out=$out/run-$dtype" --set "data.cache=$out/$dtype/layer-17" >/dev/null
  "$bin/lorsa-eval" "$out/run-$dtype/final" --cache "$out/float32/layer-17" --quiet --out "$out/$dtype.json" >/dev/null
  bytes=$(du -sb "$out/$dtype/layer-17" | cut -f 1)
  fvu=$(python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["fvu"])' "$out/$dtype.json")
  printf '%-9s %6d MiB  fvu %.5f\n' "$dtype" $((bytes >> 20)) "$fvu"
done
