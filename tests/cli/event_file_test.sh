#!/usr/bin/env bash
# TensorBoard reads what EventFile wrote, while it writes and after a resume. 77 where tensorboard is missing: skipped.
. "$(dirname "$0")/harness.sh"

python=$LORSA_SOURCE/.venv/bin/python
"$python" -c 'import tensorboard' 2>/dev/null || { echo "no tensorboard: scripts/setup.sh --tests installs it"; exit 77; }

begin "every tag, step and value"
run 0 "$python" "$LORSA_SOURCE/tests/cli/event_file_check.py" "$LORSA_BIN/write_events" events
out_has "^77 points equal$"

finish
