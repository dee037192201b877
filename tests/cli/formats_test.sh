#!/usr/bin/env bash
# The example of docs/formats.md reads what lorsa-cache wrote. 77 where h5py is missing: skipped.
. "$(dirname "$0")/harness.sh"

python=$LORSA_SOURCE/.venv/bin/python
"$python" -c 'import h5py' 2>/dev/null || { echo "no h5py: scripts/setup.sh --tests installs it"; exit 77; }
cat >config.yaml <<YAML
layers: [2]
model:  {path: $golden/model}
data:   {files: [$golden/corpus.jsonl], context_length: 16, holdout_fraction: 0.2}
out:    {path: cache, shard_bytes: 24KiB}
run:    {device: cpu, batch_sequences: 4, threads: 1}
YAML
awk '/^```python$/ { inside = 1; next } /^```$/ { inside = 0 } inside' "$LORSA_SOURCE/docs/formats.md" >example.py

compare='
import json, sys
expected = json.load(open(sys.argv[1]))["statistics"]["input"]["mean_norm"]
assert abs(float(sys.argv[2]) / expected - 1) < 1e-6, (sys.argv[2], expected)
'

begin "the example"
last="counting the lines of the example"
holds test "$(grep -c . example.py)" -gt 10
holds test "$(grep -c . example.py)" -lt 18
for dtype in bfloat16 float32 int8; do
  run 0 lorsa-cache extract config.yaml --quiet --set "out.path=$dtype" --set "out.dtype=$dtype"
  run 0 "$python" example.py "$dtype/layer-2"
  out_has "^model layer 2 mean norm [0-9.]+$"
  # The example and the manifest agree on the mean norm.
  norm=$(awk '{ print $NF }' out)
  run 0 "$python" -c "$compare" "$dtype/layer-2/manifest.json" "$norm"
done

finish
