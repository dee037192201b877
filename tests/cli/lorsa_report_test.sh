#!/usr/bin/env bash
# lorsa-report from outside: what a user types, reads and gets.
. "$(dirname "$0")/harness.sh"

make_run() { # FOLDER FACTOR SEED
  mkdir -p "$1"
  for step in 1 2 3 4; do
    echo "{\"tokens\":$((step * 1000)),\"loss\":$2.$((9 - step)),\"fvu\":0.$((9 - step)),\"l0\":8,\"dead_fraction\":0.1," \
      "\"learning_rate\":0.0004,\"top_k\":8,\"grad_norm\":1.5,\"tokens_per_s\":1234.5,\"data_wait_s\":0.5,\"model_s\":2," \
      "\"communication_s\":0,\"optimizer_s\":0.25,\"elapsed_s\":$((step * 3))}"
  done >"$1/metrics.jsonl"
  printf 'run:\n  seed: %s\ntrain:\n  tokens: 4000\n' "$3" >"$1/config.yaml"
}
make_run runs/first 1 17
make_run "runs/second one" 2 18

begin "the command line"
run 2 lorsa-report
err_has "lorsa-report needs RUN and --out"
run 0 lorsa-report --help
out_has "--out"
out_has "lorsa-report runs/a runs/b"
run 2 lorsa-report runs/first
err_has "lorsa-report needs --out"
run 2 lorsa-report --out report.html
err_has "lorsa-report needs RUN"
run 2 lorsa-report runs/first --out report.html --fast
err_lines 1
holds test ! -e report.html

begin "a report"
run 0 lorsa-report runs/first "runs/second one" --out report.html
out_has "^report.html: 2 runs$"
err_lines 0
for text in '"name":"first"' '"name":"second one"' '"run.seed":\["17","18"\]' '"x":\[1000,2000,3000,4000\]' '"loss":1.5'; do
  holds grep -q "$text" report.html
done
holds grep -q "^<!DOCTYPE html>" report.html
holds test -z "$(ls report.html.tmp 2>/dev/null)"
run 0 lorsa-report runs/first --out one.html
out_has "^one.html: 1 run$"

begin "a run that crashed while it wrote"
make_run runs/crashed 1 17
printf '{"tokens":5000,"lo' >>runs/crashed/metrics.jsonl
run 0 lorsa-report runs/crashed --out crashed.html
err_has "runs/crashed/metrics.jsonl:5: .*cut"
holds grep -q '"lines":4' crashed.html

begin "markup in a name"
name='<img src=x onerror=alert(1)>&"'
make_run "runs/$name" 1 17
run 0 lorsa-report "runs/$name" runs/first --out names.html
holds test -z "$(grep '<img' names.html)"
holds grep -qF '\u003cimg src=x onerror=alert(1)>&\"' names.html

begin "runs that cannot be shown"
run 4 lorsa-report runs/first runs/nowhere --out bad.html
err_has "runs/nowhere: expected a run folder"
err_lines 1
mkdir runs/empty
run 3 lorsa-report runs/empty --out bad.html
err_has "runs/empty.*metrics.jsonl"
make_run runs/damaged 1 17
sed -i '2s/"loss":/"loss"/' runs/damaged/metrics.jsonl
run 3 lorsa-report runs/damaged --out bad.html
err_has "runs/damaged/metrics.jsonl:2: byte [0-9]+: expected JSON"
err_lines 1
make_run runs/yaml 1 17
echo "run: {seed: 1" >>runs/yaml/config.yaml
run 3 lorsa-report runs/yaml --out bad.html
err_has "runs/yaml/config.yaml:[0-9]+:[0-9]+: "
run 2 lorsa-report runs/first ./runs/first --out bad.html
err_has "the same run folder"
run 2 lorsa-report runs/first --out runs/first/metrics.jsonl
err_has "must end in .html"
run 4 lorsa-report runs/first --out nowhere/report.html
err_has "nowhere/report.html"
holds test ! -e bad.html
holds test "$(wc -l <runs/first/metrics.jsonl)" -eq 4

finish
