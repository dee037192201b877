"""Reads back with TensorBoard's own code what write_events wrote; for event_file_test.sh."""

import glob
import json
import os
import subprocess
import sys
import time

import numpy as np
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

writer, folder = sys.argv[1:]


def line_of(tokens, session):
    rng = np.random.default_rng([tokens, session])
    return {"tokens": tokens, "loss": rng.random() * 10.0 ** int(rng.integers(-12, 12)), "fvu": 1 / 3, "top_k": 64,
            "learning_rate": 4e-4, "eval/fvu": -rng.random(), "tokens_per_s": 12345.678, "data_wait_s": 0.0}


def start(resumed_step):
    return subprocess.Popen([writer, folder, str(resumed_step)], stdin=subprocess.PIPE, text=True)


def send(process, line):
    process.stdin.write(json.dumps(line) + "\n")
    process.stdin.flush()


def tag_of(key):
    return ("speed/" if key.endswith("_s") else "train/") + key


def points(lines):
    """What TensorBoard is to hold: tag -> [(step, value)]; values are stored as float32."""
    found = {}
    for line in lines:
        for key, value in line.items():
            if key != "tokens":
                found.setdefault(tag_of(key), []).append((line["tokens"], float(np.float32(value))))
    return found


def held(accumulator):
    accumulator.Reload()
    return {tag: [(event.step, event.value) for event in accumulator.Scalars(tag)]
            for tag in accumulator.Tags()["scalars"]}


def wait_for(accumulator, expected):
    """The writer lives on meanwhile: a point must be seen without the file being closed."""
    deadline = time.monotonic() + 60
    while held(accumulator) != expected:
        assert time.monotonic() < deadline, f"expected {expected}, found {held(accumulator)}"
        time.sleep(0.02)


def wait_for_files(count):
    deadline = time.monotonic() + 60
    while len(glob.glob(folder + "/events.out.tfevents.*")) < count:
        assert time.monotonic() < deadline, "no event file appeared"
        time.sleep(0.02)


began = time.time()
first = [line_of(tokens, 0) for tokens in range(1000, 11000, 1000)]
process = start(0)
wait_for_files(1)
watcher = EventAccumulator(folder, size_guidance={"scalars": 0})
for number, line in enumerate(first):
    send(process, line)
    wait_for(watcher, points(first[:number + 1]))
process.kill()
process.wait()

# A crash in the middle of a record.
old, = glob.glob(folder + "/events.out.tfevents.*")
with open(old, "ab") as file:
    file.write(b"\x40\x00\x00\x00\x00\x00\x00\x00\x12\x34")

# The checkpoint was taken at 6000 tokens; at once, within the same second.
process = start(6000)
wait_for_files(2)
kept = [line for line in first if line["tokens"] <= 6000]
wait_for(watcher, points(kept))
second = [line_of(tokens, 1) for tokens in range(6500, 9000, 500)]
for number, line in enumerate(second):
    send(process, line)
    wait_for(watcher, points(kept + second[:number + 1]))
process.stdin.close()
assert process.wait() == 0
assert held(EventAccumulator(folder, size_guidance={"scalars": 0})) == points(kept + second)

# The newer loader, which TensorBoard's plugins use.
files = sorted(glob.glob(folder + "/events.out.tfevents.*"))
assert len(files) == 2 and files[0] == old, files
for file, lines, resumed_step in zip(files, (first, second), (0, 6000)):
    events = list(EventFileLoader(file).Load())
    assert events[0].file_version == "brain.Event:2", events[0]
    assert events[1].session_log.status == 1 and events[1].step == resumed_step + 1, events[1]
    assert [event.step for event in events[2:]] == [line["tokens"] for line in lines]
    times = [event.wall_time for event in events]
    assert began <= times[0] and times == sorted(times) and times[-1] <= time.time(), times
assert os.path.basename(files[0]).startswith("events.out.tfevents.")
print(f"{sum(len(values) for values in points(kept + second).values())} points equal")
