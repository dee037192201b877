# lorsa-toy: every generator against a brute-force reading of its rules, and every other command on what it writes.
. "$(dirname "${BASH_SOURCE[0]}")/harness.sh"

toy() {
  local kind=$1
  shift
  cat >"$kind.yaml" <<YAML
run:    {out: $kind, threads: 1}
task:   {kind: $kind, context_length: 24, segment: 5}
model:  {layers: 2}
train:  {steps: 20, batch_rows: 32}
corpus: {rows: 2000, holdout_fraction: 0.1}
YAML
  run 0 lorsa-toy "$kind.yaml" --quiet "$@"
}

for kind in superposition induction successor arithmetic copy; do
  begin "$kind"
  toy "$kind"
  out_has "^made: $kind, [0-9]+ parameters"
  holds python3 "$LORSA_SOURCE/tests/cli/toy_truth.py" "$kind"
done

begin "a truth that is not the corpus's is noticed"
cp superposition/truth.json superposition-truth.json
sed -i 's/"applications":\[\[\([0-9]*\),23/"applications":[[\1,22/' superposition/truth.json
run 1 python3 "$LORSA_SOURCE/tests/cli/toy_truth.py" superposition

begin "again"
run 0 lorsa-toy copy.yaml --quiet
out_has "^already made: copy"
run 2 lorsa-toy copy.yaml --quiet --set train.steps=21
err_has "copy.*another configuration"

begin "settings"
run 2 lorsa-toy copy.yaml --set task.distances=[30]
err_has "task.context_length = 24 is too short for task.distances = 30"
run 2 lorsa-toy copy.yaml --set task.kind=riddle
err_has "task.kind"
run 0 lorsa-toy --help
out_has "superposition: share of the rows"

begin "a stop leaves nothing"
lorsa-toy copy.yaml --quiet --set run.out=stopped --set train.steps=100000 >"$scratch/out" 2>"$scratch/err" &
pid=$!
while [ ! -d stopped.tmp ]; do sleep 0.05; done
kill -TERM "$pid"
wait "$pid"
code=$?
holds [ "$code" -eq 75 ]
holds [ ! -e stopped ]
holds [ ! -e stopped.tmp ]

begin "the other commands"
cat >cache.yaml <<'YAML'
model:  {path: superposition}
layers: [1]
data:   {files: [superposition/corpus.npy], context_length: 24, packing: truncate, holdout_fraction: 0.1}
out:    {path: cache, dtype: float32}
run:    {device: cpu, batch_sequences: 64, threads: 1}
YAML
cat >train.yaml <<'YAML'
run:    {out: run, device: cpu, threads: 1}
data:   {cache: cache/layer-1, batch_sequences: 16}
model:  {num_ov_heads: 32, num_qk_heads: 4, d_qk: 8, top_k: 4}
init:   {qk: mhsa, ov: active_subspace}
train:  {tokens: 20k}
YAML
run 0 lorsa-cache extract cache.yaml --quiet
run 0 lorsa-cache verify cache/layer-1 --quiet
run 0 lorsa-train train.yaml --quiet
run 0 lorsa-eval run/final --cache cache/layer-1 --model superposition --pattern-rows 4
out_has "ce_recovered"
run 0 lorsa-dump run/final --cache cache/layer-1 --model superposition --out dump
holds grep -q '" s[0-9]"' dump/index.json dump/explorer/data/index.js
run 0 lorsa-convert run/final exported

begin "a sweep over target models, scored by their rules"
cat >sweep.yaml <<'YAML'
sweep:
  out: sweep
  toy: superposition.yaml
  cache: cache.yaml
  train: train.yaml
  axes: ["toy:run.seed=[0, 1]", "model.top_k=[1, 4]"]
measure: {rules: true, batch_sequences: 64}
YAML
run 0 lorsa-sweep sweep.yaml --quiet
out_has "rule_f1.*rule_source_share"
holds test "$(ls sweep/toys | wc -l)" -eq 2
holds test "$(ls sweep/caches | wc -l)" -eq 2
holds cmp sweep/toys/seed-0/truth.json superposition-truth.json
check_rules() {
  python3 - <<'PY'
import json
results = json.load(open("sweep/results.json"))
assert len(results["runs"]) == 4
for run in results["runs"]:
    rules = run["rules"]["rules"]
    assert len(rules) == 12 and all(0 < rule["num_positions"] for rule in rules)
    assert all(0 <= rule["f1"] <= 1 and 0 < rule["mhsa_f1"] <= 1 for rule in rules)
    mean = sum(rule["f1"] for rule in rules) / 12
    assert abs(run["metrics"]["rule_f1"] - mean) < 1e-12
    truth = json.load(open(f"sweep/toys/seed-{run['settings']['toy:run.seed']}/truth.json"))
    for number, rule in enumerate(rules):
        applies = sum(a[0] == number for row in truth["rows"] for a in row["applications"])
        assert rule["num_positions"] == applies
PY
}
holds check_rules
run 2 lorsa-sweep sweep.yaml --set sweep.toy= --set sweep.out=other
finish
