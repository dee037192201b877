#!/usr/bin/env bash
# One of four ranks is killed, stopped, late or fails: the others end in time and say which it was.
. "$(dirname "$0")/mpirun.sh"
. "$LORSA_SOURCE/tests/cli/harness.sh"

timeout_s=3
loop() { start_ranks 4 "$LORSA_BIN/dist_rank_loop" "$timeout_s" "$@"; }

# send SIGNAL: starts the ranks, waits until they work and sends it to rank 2. Ends with mpirun's exit code.
send() {
  rm -f rank-*.pid
  loop loop &
  local mpirun_pid=$!
  for _ in $(seq 300); do
    [ "$(find . -name 'rank-*.pid' | wc -l)" -eq 4 ] && break
    sleep 0.1
  done
  sent=$SECONDS
  kill -s "$1" "$(cat rank-2.pid)"
  wait "$mpirun_pid"
}

# mpirun does not wait for the ranks that it kills: they have 5 s to be gone.
none_left() {
  local file alive
  for _ in $(seq 50); do
    alive=""
    for file in rank-*.pid; do
      ! kill -0 "$(cat "$file")" 2>/dev/null || alive="$alive $file"
    done
    [ -n "$alive" ] || return 0
    sleep 0.1
  done
  echo "still there:$alive"
  return 1
}

within() { [ $((SECONDS - sent)) -le "$1" ]; }

begin "kill -9 of rank 2"
run 137 send KILL
holds within 10
holds none_left
out_or_err() { cat out err | grep -qE "$1"; }
holds out_or_err 'process rank 2 .*exited on signal 9|rank 2.*did not arrive'

begin "rank 2 is stopped"
run 5 send STOP
holds within $((timeout_s + 12))
holds none_left
err_has 'error: rank [013] waited 3 s for all_reduce_sum of Float\[100\] \(operation [0-9]+\); rank 2 did not arrive and gives no sign of life'

begin "rank 2 is late"
sent=$SECONDS
run 5 loop sleep 2
holds within $((timeout_s + 15))
holds none_left
err_has 'error: rank [013] waited 3 s for all_reduce_sum of Float\[100\] \(operation 4\); rank 2 did not arrive, having begun 3:'

begin "rank 2 throws"
sent=$SECONDS
run 3 loop throw 2
holds within 10
holds none_left
err_has 'error: rank 2 fails on purpose'

begin "rank 2 throws in a program that does not call abort_job"
sent=$SECONDS
run 3 loop return 2
holds within 10
holds none_left
err_has 'error: rank 2 fails on purpose'

begin "rank 2 fails after all have finished"
sent=$SECONDS
run 3 loop finish 2
holds within 10
holds none_left

begin "all ranks stop in agreement"
sent=$SECONDS
run 75 loop stop
holds within 10
holds none_left

finish
