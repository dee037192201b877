#!/usr/bin/env python3
"""Writes batches and the metrics that numpy computes from them, all tokens at once, in double.

usage: scripts/golden/metrics.py       (needs numpy, and safetensors of scripts/requirements.txt)

tests/golden/metrics/reconstruction.safetensors   three cases (plain; offset: targets whose mean is 10,000 times their
                                                  spread; holes: NaN where nothing is scored, one position scored once,
                                                  one never, a zero target, a zero reconstruction), y and t in float32,
                                                  scored in uint8, with the expected numbers
tests/golden/metrics/usage.safetensors            the activations of 64 heads with rates from dead to always
"""
import pathlib

import numpy as np
from safetensors.numpy import save_file

OUT = pathlib.Path(__file__).resolve().parents[2] / "tests" / "golden" / "metrics"
B, T, D = 6, 9, 13


def fvu(y, t):
    """y, t [tokens, D]"""
    return ((t - y) ** 2).sum() / ((t - t.mean(axis=0)) ** 2).sum()


def expected(y, t, scored):
    y64, t64 = y.astype(np.float64), t.astype(np.float64)
    ys, ts = y64[scored], t64[scored]
    norms_y, norms_t = np.linalg.norm(ys, axis=1), np.linalg.norm(ts, axis=1)
    some = norms_t > 0
    both = some & (norms_y > 0)
    cosine = np.zeros(len(ts))
    cosine[both] = (ys * ts).sum(axis=1)[both] / (norms_y * norms_t)[both]
    per_position = np.full(T, np.nan)
    for position in range(T):
        rows = scored[:, position]
        if rows.sum() >= 2:
            per_position[position] = fvu(y64[rows, position], t64[rows, position])
    return {
        "num_tokens": np.array([scored.sum()], dtype=np.int64),
        "fvu": np.array([fvu(ys, ts)]),
        "mse": np.array([((ts - ys) ** 2).mean()]),
        "l2_error_ratio": np.array([(np.linalg.norm(ts - ys, axis=1)[some] / norms_t[some]).mean()]),
        "cosine": np.array([cosine.mean()]),
        "fvu_per_position": per_position,
    }


def reconstruction_cases(generator):
    def draw(scale=1.0):
        return (generator.standard_normal((B, T, D)) * scale).astype(np.float32)

    t = draw(2.0)
    yield "plain", t + draw(0.7), t, generator.random((B, T)) < 0.8
    mean = (generator.standard_normal(D) * 1e4).astype(np.float32)
    t = draw() + mean
    yield "offset", t + draw(0.3), t, generator.random((B, T)) < 0.8
    t = draw()
    y = t + draw(0.5)
    scored = generator.random((B, T)) < 0.7
    scored[0] = False
    scored[:, 4] = False
    scored[:, 6] = [False, True, False, False, False, False]
    y[~scored] = np.nan
    t[~scored] = np.inf
    scored[1, 0] = scored[2, 1] = True
    t[1, 0] = 0
    y[1, 0] = 1
    t[2, 1] = -1
    y[2, 1] = 0
    yield "holes", y, t, scored


def usage_case(generator):
    heads, tokens, kept = 64, 1000, 16
    rates = np.concatenate([np.zeros(8), np.logspace(-3.5, 0, 56)])
    acts = generator.random((tokens, heads)) < rates
    value = np.zeros((tokens, kept), dtype=np.float32)
    head = np.zeros((tokens, kept), dtype=np.uint8)
    for token in range(tokens):
        # As top-k gives them: distinct heads, the acting ones first, then heads with value 0.
        order = np.argsort(~acts[token] + generator.random(heads) * 0.5)[:kept]
        head[token] = order
        value[token] = acts[token, order] * (0.1 + generator.random(kept))
    scored = generator.random(tokens) < 0.9
    kept_value, kept_head = value[scored], head[scored]
    counts = np.array([((kept_head == h) & (kept_value != 0)).any(axis=1).sum() for h in range(heads)])
    rate = counts / scored.sum()
    alive = rate[rate > 0]
    histogram, _ = np.histogram(np.log10(alive), bins=np.arange(-7, 0.25, 0.5))
    return {
        "value": value, "head": head, "scored": scored.astype(np.uint8),
        "num_tokens": np.array([scored.sum()], dtype=np.int64),
        "l0": np.array([(kept_value != 0).sum(axis=1).mean()]),
        "dead_fraction": np.array([(rate == 0).mean()]),
        "rare_fraction": np.array([((rate > 0) & (rate < 1e-5)).mean()]),
        "dense_fraction": np.array([(rate > 1e-1).mean()]),
        "rate": rate,
        "histogram_counts": histogram.astype(np.int64),
    }


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(3)
    tensors = {}
    for name, y, t, scored in reconstruction_cases(generator):
        values = {"y": y, "t": t, "scored": scored.astype(np.uint8), **expected(y, t, scored)}
        tensors |= {f"{name}.{key}": np.ascontiguousarray(value) for key, value in values.items()}
    save_file(tensors, OUT / "reconstruction.safetensors")
    save_file(usage_case(generator), OUT / "usage.safetensors")


if __name__ == "__main__":
    main()
