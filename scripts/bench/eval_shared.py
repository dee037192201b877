#!/usr/bin/env python3
"""Times lorsa-eval of several checkpoints in one call against one call for each, interleaved, and compares their numbers.

usage: scripts/bench/eval_shared.py --cache DIR --model DIR [--rows N] [--repeats N] CHECKPOINT CHECKPOINT...

Prints both times in seconds (medians) and their ratio; fails where a number of the report differs.
"""
import argparse
import json
import pathlib
import statistics
import subprocess
import tempfile
import time

BIN = pathlib.Path(__file__).resolve().parents[2] / "build" / "bin" / "lorsa-eval"


def timed(checkpoints, options, out):
    start = time.monotonic()
    subprocess.run([BIN, *checkpoints, *options, "--quiet", "--out", out], check=True, stdout=subprocess.DEVNULL)
    report = json.loads(out.read_text())
    return time.monotonic() - start, report if isinstance(report, list) else [report]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cache", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--rows", default="0", help="held-out rows; 0 takes all")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("checkpoints", nargs="+")
    given = parser.parse_args()
    options = ["--cache", given.cache, "--model", given.model, "--max-rows", given.rows]
    together, alone = [], []
    with tempfile.TemporaryDirectory() as folder:
        out = pathlib.Path(folder) / "eval.json"
        for _ in range(given.repeats):
            seconds, reports = timed(given.checkpoints, options, out)
            together.append(seconds)
            singles = [timed([checkpoint], options, out) for checkpoint in given.checkpoints]
            alone.append(sum(seconds for seconds, _ in singles))
            for report, (_, single) in zip(reports, singles):
                report.pop("shared_errors")
                different = [key for key in single[0] if report.get(key) != single[0][key]]
                assert report.keys() == single[0].keys() and not different, (report["checkpoint"], different)
    a, b = statistics.median(together), statistics.median(alone)
    print(f"{len(given.checkpoints)} checkpoints: {a:.1f} s in one call, {b:.1f} s alone, ratio {a / b:.3f}; numbers equal")


if __name__ == "__main__":
    main()
