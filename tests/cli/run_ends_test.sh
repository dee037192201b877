#!/usr/bin/env bash
# How runs end, whatever a terminal, a scheduler, a shell or a disk does to them: the exit code, the word that is said, what is left.
. "$(dirname "$0")/harness.sh"
ulimit -c 0

tiny_configs 640
run 0 lorsa-cache extract cache.yaml --quiet
run 0 lorsa-train train.yaml --quiet
cp run/final/model.safetensors whole.safetensors

# start_long NAME COMMAND...: a training without end in the background, begun; its process is $child.
start_long() {
  local name=$1
  shift
  last="$* lorsa-train, run.out=$name"
  "$@" lorsa-train train.yaml --set run.out="$name" --set train.tokens=100M --quiet >"$scratch/out" 2>"$scratch/err" </dev/null &
  child=$!
  await test -s "$name/metrics.jsonl"
}
# await TEST...: for at most 30 seconds.
await() {
  for _ in $(seq 300); do
    if "$@"; then return; fi
    sleep 0.1
  done
  fail "never came true: $*"
}
# ends CODE: the child ends so.
ends() {
  checks=$((checks + 1))
  wait "$child" 2>/dev/null
  local code=$?
  [ "$code" -eq "$1" ] || fail "exit code $code, expected $1"
}
# saved NAME: a checkpoint is written, nothing half of one, and the message says how to go on.
saved() {
  err_has "^error: stopped at [0-9]+ of 100000000 tokens; a checkpoint is written: run the same command again"
  holds test -e "$1/checkpoints/$(ls "$1/checkpoints" | tail -n 1)/trainer.json"
  holds test -z "$(find "$1" -name '*.tmp')" -a ! -e "$1/final"
}
# A shell's background jobs ignore SIGINT; people's do not.
as_people=(env --default-signal=INT,QUIT,HUP)

begin "signals to stop: saved, exit code 75"
for signal in INT TERM HUP USR1 USR2 XCPU; do
  start_long "stopped-$signal" "${as_people[@]}"
  kill -"$signal" "$child"
  ends 75
  saved "stopped-$signal"
done
start_long timed timeout --preserve-status 600
kill -TERM "$child"  # timeout passes it on, to its child and then to the child's group
ends 75
saved timed
start_long quiet nohup
kill -HUP "$child"
sleep 0.5
kill -0 "$child" || fail "nohup: SIGHUP ended it"
kill -TERM "$child"
ends 75

begin "Ctrl-\\ ends at once; the same command goes on"
start_long quit "${as_people[@]}"
kill -QUIT "$child"
ends 131
rm quit/metrics.jsonl  # so that it tells when the next one has begun
start_long quit
kill -TERM "$child"
ends 75
saved quit

begin "stopped and continued"
start_long paused
kill -STOP "$child"
await grep -q '^State:.T' "/proc/$child/status"
kill -CONT "$child"
lines=$(wc -l <paused/metrics.jsonl)
longer() { [ "$(wc -l <paused/metrics.jsonl)" -gt "$lines" ]; }
await longer
kill -TERM "$child"
ends 75
saved paused

begin "the terminal is closed"
cat >terminal.py <<'PYTHON'
"""Runs argv[2:] on a terminal of its own that is closed once the file argv[1] is there ("-": not before the end); prints whether a bar was
shown, and the exit code."""
import os, pathlib, pty, select, sys, time
child, master = pty.fork()
if child == 0:
    os.execvp(sys.argv[2], sys.argv[2:])
shown, deadline = b"", time.monotonic() + 60
while not (pathlib.Path(sys.argv[1]).exists() and b"\x1b[K" in shown) and time.monotonic() < deadline:
    if select.select([master], [], [], 0.1)[0]:
        try:
            shown += os.read(master, 4096)
        except OSError:
            break  # the child has ended
os.close(master)
print("bar" if b"\x1b[K" in shown else "no bar", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
PYTHON
run 0 env TERM=xterm python3 terminal.py closed/metrics.jsonl lorsa-train train.yaml --set run.out=closed --set train.tokens=100M
out_has "^bar 75$"
holds test -n "$(ls closed/checkpoints)" -a ! -e closed/final
run 0 env TERM=dumb python3 terminal.py - lorsa-train train.yaml --set run.out=dumb --set train.tokens=640
out_has "^no bar 0$"

begin "standard streams that are closed or full"
closed_out() { "$@" >&-; }
closed_err() { "$@" 2>&-; }
closed_all() { "$@" <&- >&- 2>&-; }
full_out() { "$@" >/dev/full; }
full_err() { "$@" 2>/dev/full; }
train_to() { lorsa-train train.yaml --set run.out="$1"; }
run 4 closed_out lorsa-cache info cache
err_has "^error: standard output: cannot write the results"
run 4 full_out lorsa-cache info cache
err_has "^error: standard output: cannot write the results"
run 4 closed_out train_to closed-out
run 0 closed_err train_to closed-err
run 4 closed_all train_to closed-all
run 0 full_err train_to full-err
for name in closed-out closed-err closed-all full-err; do
  last="training to $name"
  holds cmp whole.safetensors $name/final/model.safetensors
  holds diff <(ls -R run/final run/checkpoints | grep -v :) <(ls -R $name/final $name/checkpoints | grep -v :)
  holds python3 -c "import json; [json.loads(line) for line in open('$name/metrics.jsonl')]"
done

begin "pipes that nobody reads"
nobody_reads() { { "$@"; echo $? >code; } | true; }
both_unread() { { "$@" 2>&1; echo $? >code; } | true; }
run 0 nobody_reads lorsa-eval run/final --cache cache/layer-1 --device cpu --quiet --out unread.json --html unread.html
holds test "$(cat code)" -eq 141
err_lines 0
holds python3 -c "import json; json.load(open('unread.json'))"
holds grep -q "</html>" unread.html
run 0 both_unread lorsa-train train.yaml --set run.out=unread
holds test "$(cat code)" -eq 141
holds cmp whole.safetensors unread/final/model.safetensors

begin "a full disk, for every kind of output"
# Files end at 1 KiB: what is larger fails as on a full disk, after its beginning was written.
disk_full() { (ulimit -f 1; exec "$@"); }
fails() { # NAME COMMAND...: exit code 4, one error that names the file, nothing of that name and no leftover
  local name=$1
  shift
  run 4 disk_full "$@"
  err_has "^error: .*$name.*(File too large|No space left)"
  holds test ! -e "$name" -a -z "$(find . -name '*.tmp' -not -path './full-*')"
}
fails eval.json lorsa-eval run/final --cache cache/layer-1 --device cpu --quiet --out eval.json
holds test -s out  # the numbers are not lost with the file
fails eval.html lorsa-eval run/final --cache cache/layer-1 --device cpu --quiet --html eval.html
fails report.html lorsa-report run --out report.html
fails converted lorsa-convert run/final converted
fails dump lorsa-dump run/final --cache cache/layer-1 --model "$golden/model" --out dump --device cpu --quiet
run 4 disk_full lorsa-cache extract cache.yaml --quiet --set out.path=full-cache
err_has "^error: .*full-cache.*(File too large|No space left)"
holds test ! -e full-cache/layer-1/manifest.json -o -z "$(grep -s '"complete": true' full-cache/layer-1/manifest.json)"
run 0 lorsa-cache extract cache.yaml --quiet --set out.path=full-cache
holds cmp cache/layer-1/shard-00000.h5 full-cache/layer-1/shard-00000.h5
run 4 disk_full lorsa-train train.yaml --quiet --set run.out=full-run
err_has "^error: .*full-run.*(File too large|No space left)"
holds test ! -e full-run/final
run 0 lorsa-train train.yaml --quiet --set run.out=full-run
holds cmp whole.safetensors full-run/final/model.safetensors
cat >toy.yaml <<YAML
run:    {out: toy, threads: 1}
task:   {kind: induction, context_length: 12, segment: 3, noise_tokens: 30}
model:  {d_model: 16, layers: 2, heads: 2, head_width: 8, d_mlp: 0}
train:  {steps: 5, batch_rows: 8}
corpus: {rows: 50}
YAML
fails toy lorsa-toy toy.yaml --quiet

begin "devices and pipes in place of files stay what they are"
mkfifo pipe
cat pipe >from-pipe &
reader=$!
run 0 lorsa-eval run/final --cache cache/layer-1 --device cpu --quiet --out pipe
wait "$reader"
holds test -p pipe -a ! -e pipe.tmp
holds python3 -c "import json; json.load(open('from-pipe'))"
rm pipe
run 0 lorsa-eval run/final --cache cache/layer-1 --device cpu --quiet --out /dev/null
holds test -c /dev/null
run 4 lorsa-eval run/final --cache cache/layer-1 --device cpu --quiet --out /dev/full
err_has "/dev/full: .*No space left"

begin "surroundings that lack something"
# What holds the libraries to fewer instructions stays (scripts/test_processors.sh): it changes the last bits of weights.
bare=(env -i PATH="$PATH" ${ATEN_CPU_CAPABILITY:+ATEN_CPU_CAPABILITY="$ATEN_CPU_CAPABILITY"}
  ${ONEDNN_MAX_CPU_ISA:+ONEDNN_MAX_CPU_ISA="$ONEDNN_MAX_CPU_ISA"})
run 0 "${bare[@]}" TMPDIR=/nowhere lorsa-eval run/final --cache cache/layer-1 --device cpu
run 0 "${bare[@]}" HOME=/nowhere LC_ALL=xx_YY LANG= lorsa-train train.yaml --set run.out=bare
holds cmp whole.safetensors bare/final/model.safetensors
in_folder() { (cd "$1" && shift && exec "$@"); }
run 4 in_folder /proc lorsa-train "$scratch/train.yaml" --set data.cache="$scratch/cache/layer-1"
err_has "^error: run.*(No such file|not permitted|denied|cannot)"
run 4 lorsa-eval run/final --cache cache/layer-1 --device cpu --out /proc/eval.json
err_has "^error: /proc/eval.json"

finish
