#!/usr/bin/env python3
"""Demands that two run folders hold the same training to rounding.

usage: compare_runs.py RUN OTHER TOLERANCE

Weights of final/: largest difference over the largest value, tensor by tensor. metrics.jsonl: every number that is no
time, line by line.
"""
import json
import pathlib
import sys

import numpy
from safetensors.numpy import load_file

TIMES = {"tokens_per_s", "data_wait_s", "model_s", "communication_s", "optimizer_s", "elapsed_s"}


def main():
    run, other = (pathlib.Path(name) for name in sys.argv[1:3])
    tolerance = float(sys.argv[3])
    ours, theirs = (load_file(folder / "final" / "model.safetensors") for folder in (run, other))
    assert ours.keys() == theirs.keys() and ours, sorted(ours)
    worst = 0.0
    for name, value in ours.items():
        error = numpy.abs(value - theirs[name]).max() / max(numpy.abs(theirs[name]).max(), 1e-30)
        worst = max(worst, float(error))
        assert error <= tolerance, f"{name}: relative difference {error:.2e}"
    lines, expected = ([json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
                       for folder in (run, other))
    assert len(lines) == len(expected) > 1, (len(lines), len(expected))
    for line, reference in zip(lines, expected):
        assert line.keys() == reference.keys()
        for key in line.keys() - TIMES:
            error = abs(line[key] - reference[key]) / max(abs(reference[key]), 1e-30)
            worst = max(worst, error)
            assert error <= tolerance, f"tokens {line['tokens']}: {key}: {line[key]} and {reference[key]}"
    print(f"{len(ours)} weights and {len(lines)} lines: largest relative difference {worst:.1e}")


if __name__ == "__main__":
    main()
