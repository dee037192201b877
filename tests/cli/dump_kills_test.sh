#!/usr/bin/env bash
# kill -9 and SIGTERM at random moments of a dump with an export for delphi: begun again it ends in the bytes of one never disturbed.
# LORSA_KILLS sets how many (12), LORSA_SEED their moments.
. "$(dirname "$0")/harness.sh"

kills=${LORSA_KILLS:-12}
RANDOM=${LORSA_SEED:-6}
python3 - "$golden/corpus.jsonl" >corpus.jsonl <<'PY'
import sys
sys.stdout.write(open(sys.argv[1], encoding="utf-8").read() * 40)
PY
tiny_configs 320
run 0 lorsa-cache extract cache.yaml --set 'data.files=[corpus.jsonl]' --quiet
run 0 lorsa-train train.yaml --quiet
sources=(run/final --cache cache/layer-1 --model "$golden/model" --save-every 0 --quiet)
whole=(lorsa-dump "${sources[@]}" --out whole --delphi latents-whole)
killed=(lorsa-dump "${sources[@]}" --out killed --delphi latents-killed)

begin "an undisturbed dump"
start=$(date +%s%N)
run 0 "${whole[@]}"
whole_ms=$((($(date +%s%N) - start) / 1000000))

begin "an export as a program of another make reads it"
run 0 python3 "$LORSA_SOURCE/tests/cli/delphi_check.py" whole latents-whole
out_has "activations in [0-9]+ splits: as in the dump"

begin "kills"
landed=0
resumed=0
check_complete() {
  last="diff of the undisturbed and the killed dumps"
  holds diff -r whole killed
  holds diff -r latents-whole latents-killed
  holds test ! -e killed.tmp
  rm -r killed latents-killed
}
for i in $(seq $((kills * 20))); do
  [ "$landed" -lt "$kills" ] || break
  [ ! -e killed.tmp/pass.state ] || resumed=$((resumed + 1))
  signal=KILL expected=137
  [ $((i % 3)) -ne 0 ] || signal=TERM expected=75
  "${killed[@]}" >out 2>err </dev/null &
  child=$!
  sleep "$(awk -v r="$RANDOM" -v ms="$whole_ms" 'BEGIN { print (0.25 + 0.7 * r / 32768) * ms / 1000 }')"
  kill -"$signal" "$child" 2>/dev/null
  wait "$child" 2>/dev/null
  code=$?
  last="lorsa-dump, perhaps killed"
  # A signal before the program answers it ends it at once: 143.
  holds test "$code" -eq 0 -o "$code" -eq "$expected" -o "$code" -eq 143
  if [ "$code" -ne 0 ]; then
    landed=$((landed + 1))
  else
    check_complete
  fi
done
holds test "$landed" -eq "$kills"
holds test "$resumed" -ge $((kills / 3))
run 0 "${killed[@]}"
check_complete

begin "another command line does not go on"
stop_in_the_middle() {
  for _ in $(seq 40); do
    "${killed[@]}" >out 2>err </dev/null &
    child=$!
    sleep "$(awk -v ms="$whole_ms" 'BEGIN { print ms * 0.5 / 1000 }')"
    kill -KILL "$child" 2>/dev/null
    wait "$child" 2>/dev/null
    [ ! -e killed.tmp/pass.state ] || return 0
  done
  return 1
}
holds stop_in_the_middle
run 2 "${killed[@]}" --contexts 3
err_has "contexts 16, this one has 3: .*--restart"
run 0 "${killed[@]}" --contexts 3 --restart
holds test ! -e killed.tmp
rm -r killed latents-killed

begin "a kill while the finished export is tidied"
holds stop_in_the_middle
rm latents-killed/*.tmp/tokens latents-killed/*.tmp/0_*.locations
run 0 "${killed[@]}"
check_complete

echo "$landed kills, $resumed of a dump with saved state; $whole_ms ms undisturbed"
finish
