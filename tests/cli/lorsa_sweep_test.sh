#!/usr/bin/env bash
# lorsa-sweep from outside: plans, whole sweeps on the tiny model, continuing, refusing, sharing the work.
. "$(dirname "$0")/harness.sh"

tiny_configs 1280
cat >>train.yaml <<YAML
checkpoint: {every_tokens: 320, keep: 2}
log:    {every_tokens: 320}
YAML
cat >sweep.yaml <<YAML
sweep:
  out: sweep
  title: Widths
  question: Does a wider head help?
  cache: cache.yaml
  train: train.yaml
  set: ["train.learning_rate=1.0e-2"]
  axes:
    - "model.kind=[lorsa, lorsa, sae]; model.d_qk=[8, 4, 0]; model.num_qk_heads=[6, 12, 0]"
    - "run.seed=[0, 1]"
measure: {pattern_rows: 2}
page:
  curves: ["fvu against model.d_qk by model.kind"]
  fits: ["fvu against parameters by model.kind"]
YAML
names="kind-lorsa_d_qk-8_num_qk_heads-6 kind-lorsa_d_qk-4_num_qk_heads-12 kind-sae_d_qk-0_num_qk_heads-0"
same() { cmp "$1/results.json" "$2/results.json" && cmp "$1/table.csv" "$2/table.csv"; }

begin "the command line"
run 2 lorsa-sweep
err_has "lorsa-sweep needs CONFIG.yaml"
run 0 lorsa-sweep --help
out_has "Example: lorsa-sweep"
out_has "axes: list of text"
run 4 lorsa-sweep absent.yaml
err_has "absent.yaml"

begin "axes and settings that cannot be"
refuses() {
  local pattern=$1
  shift
  run 2 lorsa-sweep sweep.yaml "$@"
  err_has "$pattern"
  err_lines 1
}
refuses "sweep.axes: 'model.top_q=\[4\]': model.top_q: unknown key.*top_k" --set 'sweep.axes=["model.top_q=[4]"]'
refuses "sweep.axes: 'run.seed=\[0, x\]': run.seed: expected .*'x'" --set 'sweep.axes=["run.seed=[0, x]"]'
refuses "sweep.axes: 'cache:data.holdout_fraction=\[2\]': cache:data.holdout_fraction" --set 'sweep.axes=["cache:data.holdout_fraction=[2]"]'
refuses "sweep.set: train.tokenz: unknown key" --set 'sweep.set=["train.tokenz=4"]'
refuses "sweep.set: run.out: the sweep chooses" --set 'sweep.set=["run.out=4"]'
refuses "data.cache: the cache is that of sweep.cache" --set 'sweep.axes=["data.cache=[a, b]"]'
refuses "toy:run.seed: there is no sweep.toy" --set 'sweep.axes=["toy:run.seed=[0]"]'
refuses "run.seed has a fixed value in sweep.set" --set 'sweep.set=["run.seed=4"]'
refuses "run top_k-100: model.top_k = 100 exceeds" --set 'sweep.axes=["model.top_k=[4, 100]"]' --set 'page.curves=[]'
refuses "seed-1k and seed-1000 have equal settings" --set 'sweep.axes=["run.seed=[1k, 1000]"]' --set 'page.curves=[]'
refuses "cache.yaml: a sweep's cache has exactly one layer" --set 'sweep.set=["cache:layers=[0, 1]"]'
refuses "measure.rules needs sweep.toy" --set measure.rules=true
refuses "sweep.toy = toy.yaml needs sweep.cache" --set sweep.toy=toy.yaml --set 'sweep.cache=""'
refuses "page.columns: fuv is no metric" --set 'page.columns=[fuv]'
refuses "page.curves: 'fvu against model.top_k': model.top_k is no key of sweep.axes" --set 'page.curves=[fvu against model.top_k]'
refuses "page.fits: expected .*found 'fvu by model.kind'" --set 'page.fits=[fvu by model.kind]'
refuses "page.heat_maps: .*needs two settings" --set 'page.heat_maps=[fvu against model.d_qk]'
run 2 env RANK=0 WORLD_SIZE=2 LOCAL_RANK=0 lorsa-sweep sweep.yaml
err_has "start lorsa-sweep several times"
holds test ! -e sweep

begin "a plan without a run"
run 0 lorsa-sweep sweep.yaml --dry-run
out_has "^group 1: 1280 tokens of sweep/caches/cache/layer-1$"
out_has "^  run 6  kind-sae_d_qk-0_num_qk_heads-0_seed-1  to be trained$"
out_has "^runs   0 of 6 done$"
run 0 lorsa-sweep sweep.yaml --dry-run --set sweep.together=4
out_has "^group 2: "
holds test ! -e sweep

begin "a whole sweep"
run 0 lorsa-sweep sweep.yaml
out_has "^model.kind  model.d_qk  model.num_qk_heads  n  fvu +l0 +dead_fraction +parameters$"
out_has "^sae +0 +0 +2  0\.[0-9]+ \+- [0-9.e-]+  [0-9.]+"
out_has "^6 runs, 0 of them done before$"
out_has "^page: sweep/index.html$"
err_has "training run 1, 2, 3, 4, 5, 6 of 6"
err_has "run 6 of 6: kind-sae_d_qk-0_num_qk_heads-0_seed-1: fvu "
for name in $names; do
  for seed in 0 1; do
    holds test -f "sweep/runs/${name}_seed-$seed/final/lorsa.json"
    holds test -f "sweep/runs/${name}_seed-$seed/result.json"
    holds test ! -e "sweep/runs/${name}_seed-$seed/checkpoints"
  done
done
holds test "$(wc -l <sweep/table.csv)" -eq 7
python3 - >out 2>err <<'PY' || fail "results.json is not what formats.md says"
import csv, json
results = json.load(open("sweep/results.json"))
assert results["schema"] == 1 and results["title"] == "Widths" and results["question"].startswith("Does")
assert results["axes"][0]["values"] == [["lorsa", 8, 6], ["lorsa", 4, 12], ["sae", 0, 0]], results["axes"]
assert results["axes"][1] == {"keys": ["run.seed"], "values": [[0], [1]]}
runs = results["runs"]
assert [r["settings"]["run.seed"] for r in runs] == [0, 1, 0, 1, 0, 1]
table = list(csv.DictReader(open("sweep/table.csv")))
for run, line in zip(runs, table):
    one = json.load(open(f"sweep/runs/{run['name']}/result.json"))
    assert line["name"] == run["name"] == one["name"]
    assert float(line["fvu"]) == run["metrics"]["fvu"] == one["evaluation"]["fvu"]
    assert line["model.kind"] == run["settings"]["model.kind"] == one["configuration"]["model.kind"]
    # Seeds share the order of the data: that of the configuration's own seed.
    assert one["configuration"]["data.seed"] == "0"
    assert one["configuration"]["train.learning_rate"] == "0.01"
    assert one["configuration"]["cache:data.context_length"] == "16"
    assert one["speed"]["tokens_per_s"] > 0
    assert run["metrics"]["tokens"] == 1280 and "speed" not in run
    H = 48
    weights = json.load(open(f"sweep/runs/{run['name']}/final/lorsa.json"))
    D = weights.get("d_model") or weights["model"]["d_model"]
    S, E = run["settings"]["model.num_qk_heads"], run["settings"]["model.d_qk"]
    expected = 2 * H * D + H + D + 2 * S * E * (D + 1)
    assert run["metrics"]["parameters"] == expected, (run["metrics"], expected)
fits = results["fits"]
assert [f["series"] for f in fits] == [{"model.kind": "lorsa"}, {"model.kind": "sae"}], fits
first = [r["metrics"]["fvu"] for r in runs]
points = sorted([r["metrics"]["parameters"], (first[i] + first[i + 1]) / 2] for i, r in list(enumerate(runs))[:4:2])
assert len(fits[0]["points"]) == 2 and all(abs(a[1] - b[1]) < 1e-15 for a, b in zip(fits[0]["points"], points))
assert "error" in fits[0]  # two points are no power law
assert len({r["metrics"]["fvu"] for r in runs}) == 6
PY

begin "each run is what lorsa-train and lorsa-eval make of its settings"
alone=kind-lorsa_d_qk-4_num_qk_heads-12_seed-1
run 0 lorsa-train train.yaml --quiet --set run.out=alone --set data.cache=sweep/caches/cache/layer-1 \
  --set train.learning_rate=1.0e-2 --set model.d_qk=4 --set model.num_qk_heads=12 --set run.seed=1 --set data.seed=0
holds cmp alone/final/model.safetensors sweep/runs/$alone/final/model.safetensors
run 0 lorsa-eval alone/final --cache sweep/caches/cache/layer-1 --batch-sequences 8 --pattern-rows 2 --threads 1 \
  --device cpu --out alone.json --quiet
last="the evaluation of both"
holds python3 -c "
import json
a = json.load(open('alone.json'))
b = json.load(open('sweep/runs/$alone/result.json'))['evaluation']
a.pop('checkpoint'), b.pop('checkpoint')
a.pop('shared_errors', None), b.pop('shared_errors', None)
assert a == b"

begin "a finished sweep is not made again"
cp -r sweep before
stamp=$(stat -c %Y.%s sweep/runs/$alone/result.json)
run 0 lorsa-sweep sweep.yaml --quiet
out_has "^6 runs, 6 of them done before$"
holds same before sweep
holds test "$stamp" = "$(stat -c %Y.%s sweep/runs/$alone/result.json)"

begin "other measures are taken of the same trainings"
run 0 lorsa-sweep sweep.yaml --set measure.max_rows=1 --set measure.model="$golden/model" --set 'page.columns=[ce_recovered]'
out_has "^model.kind  model.d_qk  model.num_qk_heads  n  ce_recovered$"
holds test "$(grep -c 'training run' err)" -eq 0
holds grep -q ce_recovered sweep/table.csv

begin "a changed configuration is refused by its keys"
run 2 lorsa-sweep sweep.yaml --set 'sweep.set=["train.learning_rate=2.0e-2"]'
err_has "sweep/runs/.*another configuration.*train.learning_rate: the run has 0.01, the sweep says 0.02"
run 2 lorsa-sweep sweep.yaml --set 'sweep.set=["train.learning_rate=1.0e-2", "cache:data.holdout_fraction=0.3"]' --dry-run
err_has "cache:data.holdout_fraction: the run has 0.2, the sweep says 0.3"
run 0 lorsa-sweep sweep.yaml --dry-run --set 'sweep.set=["train.learning_rate=1.0e-2", "run.threads=2"]'

begin "a longer axis adds runs"
run 0 lorsa-sweep sweep.yaml --quiet --set 'sweep.axes=["model.kind=[lorsa, lorsa, sae]; model.d_qk=[8, 4, 0]; model.num_qk_heads=[6, 12, 0]", "run.seed=[0, 1, 2]"]' \
  --set 'page.curves=[]'
out_has "^9 runs, 0 of them done before$"
holds test "$(wc -l <sweep/table.csv)" -eq 10

begin "checkpoints stay where they are wanted, and groups of any size give the same numbers"
run 0 lorsa-sweep sweep.yaml --quiet --set sweep.out=apart --set sweep.together=1 --set sweep.keep_checkpoints=true
holds test -e apart/runs/$alone/checkpoints/tokens-000000001280
holds same before apart

begin "a stop signal"
lorsa-sweep sweep.yaml --set sweep.out=stopped --set 'sweep.set=["train.learning_rate=1.0e-2", "train.tokens=400k"]' >out 2>err </dev/null &
child=$!
for _ in $(seq 300); do
  [ -z "$(ls stopped/runs/$alone/checkpoints 2>/dev/null)" ] || break
  sleep 0.1
done
kill -TERM $child
wait $child
code=$?
last="lorsa-sweep, stopped"
holds test $code -eq 75
err_has "run the same command again"
run 2 lorsa-sweep sweep.yaml --set sweep.out=stopped --quiet
err_has "train.tokens: the run has 400000, the sweep says 1280"
run 0 lorsa-sweep sweep.yaml --set sweep.out=stopped --set 'sweep.set=["train.learning_rate=1.0e-2", "train.tokens=400k"]' --dry-run
out_has "  begun$"

begin "two processes share a sweep"
longer='sweep.set=["train.learning_rate=1.0e-2", "train.tokens=80k", "checkpoint.every_tokens=20k"]'
run 0 lorsa-sweep sweep.yaml --quiet --set sweep.out=single --set "$longer" --set sweep.title=single
shared() { lorsa-sweep sweep.yaml --set sweep.out=shared --set sweep.together=1 --set "$longer" --set sweep.title=single </dev/null; }
shared >out.a 2>err.a &
first=$!
shared >out.b 2>err.b &
second=$!
wait $first
code_a=$?
wait $second
code_b=$?
cat err.a err.b >err
last="two processes"
holds test $code_a -eq 0 -a $code_b -eq 0
holds cmp <(head -4 out.a) <(head -4 out.b)
# Each run was trained once, by one of them, and both had some.
holds test "$(grep -c 'training run' err)" -eq 6
holds grep -q 'training run' err.a
holds grep -q 'training run' err.b
holds same single shared

begin "a sweep over caches, and one over the training's own"
run 0 lorsa-sweep sweep.yaml --set sweep.out=caches --set 'page.fits=[]' --set 'page.curves=[]' \
  --set 'sweep.axes=["cache:data.holdout_fraction=[0.2, 0.3]", "run.seed=[0, 1]"]'
holds test -f caches/caches/holdout_fraction-0.2/layer-1/manifest.json
holds test -f caches/caches/holdout_fraction-0.3/layer-1/manifest.json
holds test "$(grep -c 'training run' err)" -eq 2
run 0 lorsa-cache extract cache.yaml --quiet
run 0 lorsa-sweep sweep.yaml --quiet --set sweep.out=own --set 'sweep.cache=""' --set 'sweep.axes=[]' --set 'page.fits=[]' --set 'page.curves=[]'
holds test -f own/runs/run/result.json
holds test ! -e own/caches
run 2 lorsa-sweep sweep.yaml --quiet --set sweep.out=none --set 'sweep.set=["cache:data.holdout_fraction=0.0"]'
err_has "no held-out rows"
holds test ! -e none/runs

begin "what is measured of pairs"
run 0 lorsa-sweep sweep.yaml --set measure.stability=true --set measure.errors=true --set sweep.out=apart --set sweep.together=1 --set sweep.keep_checkpoints=true
out_has "share_one_to_one +vector_from_reference$"
holds test "$(find apart/pairs -name '*.json' | wc -l)" -eq 7
holds python3 -c "
import json
r = json.load(open('apart/results.json'))
assert [(p['first'][-1], p['second'][-1]) for p in r['stability']] == [('0', '1')] * 3
assert all(p['first'][:-1] == p['second'][:-1] for p in r['stability'])
assert len(r['errors']) == 4 and all('lorsa' in p['checkpoint'] and 'sae' in p['reference'] and p['checkpoint'][-1] == p['reference'][-1] for p in r['errors'])"
cp apart/results.json pairs.json
run 0 lorsa-sweep sweep.yaml --set measure.stability=true --set measure.errors=true --set sweep.out=apart --set sweep.together=1 --set sweep.keep_checkpoints=true
holds test "$(grep -c comparing err)" -eq 0
holds cmp pairs.json apart/results.json
finish
