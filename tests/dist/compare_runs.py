#!/usr/bin/env python3
"""Demands that two run folders hold the same training to rounding.

usage: compare_runs.py RUN OTHER TOLERANCE

All weights of final/ as one vector: length of the difference over the length. A single tensor may differ by ten times as
much: Adam makes as large as any other a gradient that is all rounding, as that of b_K, whose terms cancel but for the
rotation. metrics.jsonl: every number that is no time, line by line.
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
    square = total = worst = 0.0
    for name, value in ours.items():
        difference, length = numpy.linalg.norm(value - theirs[name]), numpy.linalg.norm(theirs[name])
        square, total = square + difference**2, total + length**2
        error = float(difference / max(length, 1e-30))
        worst = max(worst, error)
        assert error <= 10 * tolerance, f"{name}: relative difference {error:.2e}"
    distance = (square / total) ** 0.5
    assert distance <= tolerance, f"weights: relative difference {distance:.2e}"
    worst_number = 0.0
    lines, expected = ([json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
                       for folder in (run, other))
    assert len(lines) == len(expected) > 1, (len(lines), len(expected))
    for line, reference in zip(lines, expected):
        assert line.keys() == reference.keys()
        for key in line.keys() - TIMES:
            error = abs(line[key] - reference[key]) / max(abs(reference[key]), 1e-30)
            worst_number = max(worst_number, error)
            assert error <= tolerance, f"tokens {line['tokens']}: {key}: {line[key]} and {reference[key]}"
    print(f"relative difference of all weights {distance:.1e}, of a tensor {worst:.1e}, of the metrics {worst_number:.1e}")


if __name__ == "__main__":
    main()
