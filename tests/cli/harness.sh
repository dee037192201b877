# Sourced by the tests in this folder. LORSA_BIN is where the programs are, LORSA_SOURCE the source tree.
#
#   begin TITLE            names what the following lines check
#   run CODE COMMAND...    runs it, demands the exit code; output in $scratch/out and $scratch/err
#   out_has PATTERN        the last run's standard output has a line that matches (grep -E)
#   err_has PATTERN        the same for standard error
#   err_lines N            standard error has exactly N lines
#   holds COMMAND...       demands that a test command succeeds
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
