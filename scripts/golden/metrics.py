#!/usr/bin/env python3
"""Writes batches and the metrics that numpy computes from them, all tokens at once, in double.

usage: scripts/golden/metrics.py       (needs numpy, and safetensors of scripts/requirements.txt)

tests/golden/metrics/reconstruction.safetensors   three cases (plain; offset: targets whose mean is 10,000 times their
                                                  spread; holes: NaN where nothing is scored, one position scored once,
                                                  one never, a zero target, a zero reconstruction), y and t in float32,
                                                  scored in uint8, with the expected numbers
tests/golden/metrics/usage.safetensors            the activations of 64 heads with rates from dead to always
tests/golden/metrics/errors.safetensors           three reconstructions of the same targets, the third one exact at some
                                                  tokens, and what their errors have in common
tests/golden/metrics/attention.safetensors        an MHSA of 4 heads on 2 key heads and a Lorsa of 6 QK heads, both with
                                                  RoPE, written down here from the paper (arXiv 2504.20938); their patterns' KL and
                                                  mass on the first token, output shares and their spread; a second case
                                                  of the Lorsa has virtual keys
tests/golden/metrics/predictions.safetensors      logits of a model untouched and with its layer replaced in three ways,
                                                  and the cross-entropies and KL that follow
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
        "fvu_of_2_to_4": np.array([fvu(y64[:, 2:5][scored[:, 2:5]], t64[:, 2:5][scored[:, 2:5]])]),
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


def error_case(generator):
    shape = (3, 7, 11)
    t = (generator.standard_normal(shape) * 2).astype(np.float32)
    # Errors with a common part, as those of a Lorsa and an SAE of one layer, of a size that varies between tokens.
    common = generator.standard_normal(shape) * generator.uniform(0.1, 2, (3, 7, 1))
    y = np.stack([t + scale * common + 0.5 * generator.standard_normal(shape) for scale in (1.0, 0.7, -0.2)])
    y = y.astype(np.float32)
    scored = generator.random((3, 7)) < 0.8
    scored[1, 2] = True
    y[2, 1, 2] = t[1, 2]
    y[:, ~scored] = np.nan
    e = (t.astype(np.float64) - y.astype(np.float64))[:, scored]   # [C, tokens, D]
    norms = np.linalg.norm(e, axis=2)
    cosine = np.zeros((3, 3))
    explained = np.zeros((3, 3))
    for a in range(3):
        for b in range(3):
            both = (norms[a] > 0) & (norms[b] > 0)
            each = np.zeros(norms.shape[1])
            each[both] = (e[a] * e[b]).sum(axis=1)[both] / (norms[a] * norms[b])[both]
            cosine[a, b] = each.mean()
            # As what is left of e_a without its projection on the whole of e_b.
            rest = e[a] - (e[a] * e[b]).sum() / (e[b] ** 2).sum() * e[b]
            explained[a, b] = 1 - (rest ** 2).sum() / (e[a] ** 2).sum()
    return {
        "y": y, "t": t, "scored": scored.astype(np.uint8), "num_tokens": np.array([scored.sum()], dtype=np.int64),
        "cosine": cosine, "squared_norm_correlation": np.corrcoef(norms ** 2), "explained": explained,
    }


def rope(x, base):
    """x [T, A], the halves rotated against each other; frequencies and angles are float32 numbers (docs/numerics.md)."""
    half = x.shape[1] // 2
    exponent = np.arange(0, x.shape[1], 2).astype(np.float32) / np.float32(x.shape[1])
    frequency = np.float32(1) / np.power(np.float32(base), exponent)
    angle = np.arange(len(x), dtype=np.float32)[:, None] * frequency
    cos, sin = np.cos(angle).astype(np.float64), np.sin(angle).astype(np.float64)
    a, b = x[:, :half], x[:, half:]
    return np.concatenate([a * cos - b * sin, b * cos + a * sin], axis=1)


def pattern(q, k, scale, extra_keys=None):
    """Causal softmax of q k^T / scale, [T, T]; extra keys take part in every row and are then left out."""
    scores = q @ k.T / scale
    scores[np.triu_indices(len(q), 1)] = -np.inf
    if extra_keys is not None:
        scores = np.concatenate([scores, q @ extra_keys.T / scale], axis=1)
    weights = np.exp(scores - scores.max(axis=1, keepdims=True))
    return (weights / weights.sum(axis=1, keepdims=True))[:, :len(q)]


def attention_case(generator):
    rows, positions, width = 3, 10, 16
    heads, key_heads, head_width, base = 4, 2, 6, 50.0
    qk_heads, qk_width, ov_heads, virtual = 6, 4, 18, 2

    def draw(*shape, scale=0.5):
        return (generator.standard_normal(shape) * scale).astype(np.float32)

    mhsa = {"W_Q": draw(heads, width, head_width), "W_K": draw(key_heads, width, head_width),
            "W_V": draw(key_heads, width, head_width), "W_O": draw(heads, head_width, width),
            "b_Q": draw(heads, head_width), "b_K": draw(key_heads, head_width)}
    mhsa["W_O"][3, 5] = mhsa["W_O"][3, 4]    # an output space of 5 dimensions
    lorsa = {"W_Q": draw(qk_heads, width, qk_width), "W_K": draw(qk_heads, width, qk_width),
             "b_Q": draw(qk_heads, qk_width), "b_K": draw(qk_heads, qk_width),
             "W_V": draw(ov_heads, width), "W_O": draw(ov_heads, width), "virtual_k": draw(virtual, qk_heads, qk_width)}
    for head in range(4):                    # wholly and almost inside one head's space
        lorsa["W_O"][head] = generator.standard_normal(head_width) @ mhsa["W_O"][head] + draw(width, scale=0.1 * head)
    lorsa["W_O"][7] = 0
    x = draw(rows, positions, width, scale=1.0)
    scored = generator.random((rows, positions)) < 0.8
    scored[:, 0] = True                      # to be left out all the same
    scored[2] = [True] + [False] * (positions - 1)
    acts = generator.random(ov_heads) < 0.8
    acts[[0, 1, 7]] = True
    acts[5] = False

    m64 = {name: value.astype(np.float64) for name, value in mhsa.items()}
    l64 = {name: value.astype(np.float64) for name, value in lorsa.items()}
    case = {}
    for name, extra in (("plain", False), ("virtual", True)):
        divergence = np.zeros((heads, qk_heads))
        first = {"mhsa": np.zeros(heads), "qk": np.zeros(qk_heads)}
        count = 0
        for row in range(rows):
            xr = x[row].astype(np.float64)
            p = [pattern(rope(xr @ m64["W_Q"][n] + m64["b_Q"][n], base),
                         rope(xr @ m64["W_K"][n * key_heads // heads] + m64["b_K"][n * key_heads // heads], base),
                         np.sqrt(head_width)) for n in range(heads)]
            q = [pattern(rope(xr @ l64["W_Q"][s] + l64["b_Q"][s], base), rope(xr @ l64["W_K"][s] + l64["b_K"][s], base),
                         np.sqrt(qk_width), l64["virtual_k"][:, s] if extra else None) for s in range(qk_heads)]
            for position in range(1, positions):
                if not scored[row, position]:
                    continue
                count += 1
                past = slice(0, position + 1)
                for n in range(heads):
                    first["mhsa"][n] += p[n][position, 0]
                    for s in range(qk_heads):
                        divergence[n, s] += (p[n][position, past]
                                             * np.log(p[n][position, past] / q[s][position, past])).sum()
                for s in range(qk_heads):
                    first["qk"][s] += q[s][position, 0]
        divergence /= count
        case |= {f"{name}.kl": divergence, f"{name}.fidelity": np.array([divergence.min(axis=1).mean()]),
                 f"{name}.closest_qk": divergence.argmin(axis=1), f"{name}.closest_mhsa": divergence.argmin(axis=0),
                 f"{name}.first_mass_mhsa": first["mhsa"] / count, f"{name}.first_mass_qk": first["qk"] / count,
                 f"{name}.num_queries": np.array([count], dtype=np.int64)}

    shares = np.zeros((ov_heads, heads))
    for head in range(ov_heads):
        w = l64["W_O"][head]
        for n in range(heads):
            if (w != 0).any():
                coefficients = np.linalg.lstsq(m64["W_O"][n].T, w, rcond=1e-6)[0]
                inside = coefficients @ m64["W_O"][n]
                shares[head, n] = (inside @ inside) / (w @ w)
    largest = shares.max(axis=1)[acts & (shares.max(axis=1) > 0)]
    histogram, _ = np.histogram(np.minimum(largest, 1.0), bins=np.linspace(0, 1, 21))
    return {
        **{f"mhsa.{name}": value for name, value in mhsa.items()}, **{f"lorsa.{name}": value for name, value in lorsa.items()},
        "rope_base": np.array([base]), "x": x, "scored": scored.astype(np.uint8), "acts": acts.astype(np.uint8), **case,
        "output_shares": shares, "head_spread": np.array([(largest < 0.9).mean()]),
        "num_spread_heads": np.array([len(largest)], dtype=np.int64), "spread_histogram": histogram.astype(np.int64),
    }


def prediction_case(generator):
    rows, positions, vocabulary = 3, 8, 29
    logits = {"original": generator.standard_normal((rows, positions, vocabulary)) * 3}
    for name, noise in (("replaced", 0.5), ("zero_ablated", 2.0), ("mean_ablated", 1.2)):
        logits[name] = logits["original"] + noise * generator.standard_normal((rows, positions, vocabulary))
    logits = {name: value.astype(np.float32) for name, value in logits.items()}
    tokens = generator.integers(0, vocabulary, (rows, positions)).astype(np.int32)
    scored = generator.random((rows, positions)) < 0.8
    scored[:, 0] = False
    scored[2] = [True] + [False] * (positions - 1)    # no prediction in this row

    entropy = {name: [] for name in logits}
    divergence = []
    for row in range(rows):
        for position in range(positions - 1):
            if not scored[row, position + 1]:
                continue
            p = {}
            for name, value in logits.items():
                odds = np.exp(value[row, position].astype(np.float64))
                p[name] = odds / odds.sum()
                entropy[name].append(-np.log(p[name][tokens[row, position + 1]]))
            divergence.append((p["original"] * np.log(p["original"] / p["replaced"])).sum())
    ce = {name: np.mean(values) for name, values in entropy.items()}
    return {
        **{f"logits.{name}": value for name, value in logits.items()}, "tokens": tokens, "scored": scored.astype(np.uint8),
        "num_predictions": np.array([len(divergence)], dtype=np.int64),
        **{f"ce_{name}": np.array([value]) for name, value in ce.items()},
        "ce_recovered": np.array([(ce["zero_ablated"] - ce["replaced"]) / (ce["zero_ablated"] - ce["original"])]),
        "kl": np.array([np.mean(divergence)]),
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
    for name, case in (("errors", error_case), ("attention", attention_case), ("predictions", prediction_case)):
        tensors = {key: np.ascontiguousarray(value) for key, value in case(generator).items()}
        save_file(tensors, OUT / f"{name}.safetensors")


if __name__ == "__main__":
    main()
