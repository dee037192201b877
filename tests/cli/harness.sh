# Sourced by the tests in this folder. LORSA_BIN is where the programs are, LORSA_SOURCE the source tree.
#
#   begin TITLE            names what the following lines check
#   run CODE COMMAND...    runs it, demands the exit code; output in $scratch/out and $scratch/err
#   out_has PATTERN        the last run's standard output has a line that matches (grep -E)
#   err_has PATTERN        the same for standard error
#   err_lines N            standard error has exactly N lines
#   holds COMMAND...       demands that a test command succeeds
#   tiny_configs TOKENS    writes cache.yaml and train.yaml: layer 1 of the tiny model in $golden, a training of TOKENS
#   own_model FOLDER...    writes a model whose tokens are bytes (tiny_model.py)
#   own_cache_config TOKENS HOLDOUT    writes cache.yaml: layer 0 of own_model in model/, rows of 16 tokens of corpus.jsonl
#   need_chromium          ends the script with 77 (skipped) where there is none; $screenshots is a folder for pictures
#   finish                 ends the script: 0 if every check held

set -u
: "${LORSA_BIN:?set LORSA_BIN to the folder of the programs}"
: "${LORSA_SOURCE:?set LORSA_SOURCE to the source tree}"
PATH="$LORSA_BIN:$PATH"
scratch=$(mktemp -d "${TMPDIR:-/tmp}/lorsa-cli-XXXXXX")
trap 'chmod -R u+w "$scratch"; rm -rf "$scratch"' EXIT
cd "$scratch" || exit 1
checks=0
failures=0
title=""
last=""

golden=$LORSA_SOURCE/tests/golden/collect

tiny_configs() {
  cat >cache.yaml <<YAML
layers: [1]
model:  {path: $golden/model}
data:   {files: [$golden/corpus.jsonl], context_length: 16, holdout_fraction: 0.2}
out:    {path: cache, dtype: float32}
run:    {device: cpu, batch_sequences: 4, threads: 1}
YAML
  cat >train.yaml <<YAML
run:    {out: run, device: cpu, threads: 1}
data:   {cache: cache/layer-1, batch_sequences: 2}
model:  {num_ov_heads: 48, num_qk_heads: 6, d_qk: 8, top_k: 4}
train:  {tokens: $1}
YAML
}

own_model() { python3 "$LORSA_SOURCE/tests/cli/tiny_model.py" "$@"; }

own_cache_config() {
  cat >cache.yaml <<YAML
model: {path: model, dtype: float32}
layers: [0]
data: {files: [corpus.jsonl], context_length: 16, max_tokens: $1, holdout_fraction: $2}
out: {path: cache, dtype: float32}
run: {device: cpu, threads: 1}
YAML
}

need_chromium() {
  command -v chromium chromium-browser google-chrome >/dev/null \
    || { echo "no chromium: scripts/setup.sh --tests installs it"; exit 77; }
  screenshots=${LORSA_SCREENSHOTS:-$scratch/screenshots}
  mkdir -p "$screenshots"
}

begin() { title=$1; }

fail() {
  failures=$((failures + 1))
  echo "FAILED: $title: $1"
  echo "  after: $last"
  sed 's/^/  out: /' "$scratch/out" | head -20
  sed 's/^/  err: /' "$scratch/err" | head -20
}

run() {
  local expected=$1 code
  shift
  last="$*"
  checks=$((checks + 1))
  "$@" >"$scratch/out" 2>"$scratch/err" </dev/null
  code=$?
  [ "$code" -eq "$expected" ] || fail "exit code $code, expected $expected"
}

out_has() {
  checks=$((checks + 1))
  grep -qE -- "$1" "$scratch/out" || fail "no line of standard output matches: $1"
}

err_has() {
  checks=$((checks + 1))
  grep -qE -- "$1" "$scratch/err" || fail "no line of standard error matches: $1"
}

err_lines() {
  checks=$((checks + 1))
  [ "$(wc -l <"$scratch/err")" -eq "$1" ] || fail "standard error has not $1 line(s)"
}

holds() {
  checks=$((checks + 1))
  "$@" || fail "does not hold: $*"
}

finish() {
  echo "$checks checks, $failures failed"
  [ "$checks" -gt 0 ] && [ "$failures" -eq 0 ]
  exit
}
