#!/usr/bin/env python3
"""Writes a small cache, three checkpoints, and what numpy finds by comparing them, all tokens at once, in double.

usage: scripts/golden/experiments.py       (needs numpy, and safetensors of scripts/requirements.txt)

tests/golden/experiments/measures.safetensors  inputs, targets, tokens, scored and held-out marks of 32 rows; an attention
                                               layer of 4 heads on 2 key heads; two Lorsas ("first." and "second.", the
                                               second one made of the first's heads in another order: some almost as they
                                               were, some with another direction or other firing, one twice, one dead) and
                                               an SAE ("sae."); W_Q and W_K as [S, D, E]
tests/golden/experiments/measures.json         "stability" of the two Lorsas, "errors" of the first against the SAE, with
                                               the keys of the library's JSON

The formulas are written down here from the paper (arXiv 2504.20938) and the docstrings in include/lorsa/experiments/.
"""
import json
import pathlib

import numpy as np
from safetensors.numpy import save_file

OUT = pathlib.Path(__file__).resolve().parents[2] / "tests" / "golden" / "experiments"
ROWS, T, D = 32, 10, 8
N, KEY_HEADS, A = 4, 2, 4
S, E, H, K = 2, 4, 12, 3
FEATURES, SAE_K = 16, 4
BASE, THRESHOLD, FIT_ROWS = 100.0, 0.7, 17


def rope(x):
    """x [T, A], the halves rotated against each other; frequencies and angles are float32 numbers (docs/numerics.md)."""
    half = x.shape[1] // 2
    exponent = np.arange(0, x.shape[1], 2).astype(np.float32) / np.float32(x.shape[1])
    frequency = np.float32(1) / np.power(np.float32(BASE), exponent)
    angle = np.arange(len(x), dtype=np.float32)[:, None] * frequency
    cos, sin = np.cos(angle).astype(np.float64), np.sin(angle).astype(np.float64)
    a, b = x[:, :half], x[:, half:]
    return np.concatenate([a * cos - b * sin, b * cos + a * sin], axis=1)


def pattern(q, k):
    scores = rope(q) @ rope(k).T / np.sqrt(q.shape[1])
    scores[np.triu_indices(len(q), 1)] = -np.inf
    weights = np.exp(scores - scores.max(axis=1, keepdims=True))
    return weights / weights.sum(axis=1, keepdims=True)


def layer_patterns(layer, x):
    return [pattern(x @ layer["W_Q"][n], x @ layer["W_K"][n * KEY_HEADS // N]) for n in range(N)]


def layer_output(layer, x):
    return sum(p @ x @ layer["W_V"][n * KEY_HEADS // N] @ layer["W_O"][n]
               for n, p in enumerate(layer_patterns(layer, x)))


def activations(w, x, top_k):
    """[T, heads]: relu(z) of the top_k best relu(z) |W_O|, else 0."""
    z = x @ w["W_V"].T + w["b_V"]
    if "W_Q" in w:
        group = len(w["W_V"]) // len(w["W_Q"])
        patterns = [pattern(x @ w["W_Q"][s] + w["b_Q"][s], x @ w["W_K"][s] + w["b_K"][s]) for s in range(len(w["W_Q"]))]
        z = np.stack([patterns[h // group] @ z[:, h] for h in range(z.shape[1])], axis=1)
    score = np.maximum(z, 0) * np.linalg.norm(w["W_O"], axis=1)
    a = np.zeros_like(z)
    for t in range(len(x)):
        order = np.argsort(-score[t], kind="stable")
        kept, next_best = score[t, order[top_k - 1]], score[t, order[top_k]]
        assert kept == 0 or kept > next_best * (1 + 1e-5), "too close for float32"
        a[t, order[:top_k]] = np.maximum(z[t], 0)[order[:top_k]]
    return a


def make_inputs(generator):
    def draw(*shape, scale=0.5):
        return (generator.standard_normal(shape) * scale).astype(np.float32)

    layer = {"W_Q": draw(N, D, A), "W_K": draw(KEY_HEADS, D, A), "W_V": draw(KEY_HEADS, D, A), "W_O": draw(N, A, D)}
    first = {"W_Q": draw(S, D, E), "W_K": draw(S, D, E), "b_Q": draw(S, E), "b_K": draw(S, E), "W_V": draw(H, D),
             "b_V": draw(H, scale=0.2), "W_O": draw(H, D), "b_D": draw(D, scale=0.1)}
    first["b_V"][4] = -100                       # never acts
    second = {name: value + draw(*value.shape, scale=0.02) for name, value in first.items()}
    order = [3, 0, 5, 1, 4, 2, 11, 7, 8, 6, 10, 9]    # within the groups of the two QK heads
    for name in ("W_V", "b_V", "W_O"):
        second[name] = second[name][order]
    second["W_O"][1] = draw(D)                   # the same firing, another direction
    second["W_V"][8] = draw(D)                   # the same direction, other firing
    second["W_V"][7], second["b_V"][7], second["W_O"][7] = (   # one head of the first twice
        second[name][6] * np.float32(0.9) for name in ("W_V", "b_V", "W_O"))
    sae = {"W_V": draw(FEATURES, D), "b_V": draw(FEATURES, scale=0.1), "W_O": draw(FEATURES, D), "b_D": draw(D, scale=0.1)}
    sae["W_O"][:] = sae["W_V"] + draw(FEATURES, D, scale=0.1)
    x = draw(ROWS, T, D, scale=1.0) * generator.uniform(0.5, 2.0, (ROWS, T, 1)).astype(np.float32)
    # Targets that depend on the position in a way that no checkpoint knows.
    offset = np.linspace(0, 1.5, T, dtype=np.float32)[:, None] * draw(D, scale=1.0)
    target = np.stack([layer_output({k: v.astype(np.float64) for k, v in layer.items()}, row.astype(np.float64))
                       for row in x]).astype(np.float32) + offset
    tokens = np.minimum(generator.geometric(0.2, (ROWS, T)), 30).astype(np.int32)
    tokens[:, 0] = 0
    tokens[5, 4] = tokens[7, 6] = 0
    heldout = (np.arange(ROWS) % 3 == 2).astype(np.uint8)
    return layer, first, second, sae, x, target, tokens, heldout


def match_heads(a, b, w_a, w_b):
    """a, b [tokens, heads]"""
    acts_a, acts_b = (a != 0).any(axis=0), (b != 0).any(axis=0)
    correlation = np.corrcoef(a[:, acts_a].T, b[:, acts_b].T)[:acts_a.sum(), acts_a.sum():]
    rows_a, rows_b = w_a[acts_a], w_b[acts_b]
    cosine = rows_a @ rows_b.T / np.outer(np.linalg.norm(rows_a, axis=1), np.linalg.norm(rows_b, axis=1))
    match = np.maximum(np.minimum(cosine, correlation), 0)
    assert np.abs(np.concatenate([match, cosine, correlation]) - THRESHOLD).min() > 1e-3, "too close for float32"
    best = match.max(axis=1)
    left, pairs = match.copy(), 0
    while left.max() > THRESHOLD:
        h, g = np.unravel_index(left.argmax(), left.shape)
        left[h, :] = left[:, g] = 0
        pairs += 1
    histogram, _ = np.histogram(best, bins=np.linspace(0, 1, 21))
    return {
        "num_tokens": len(a), "num_heads_first": int(acts_a.sum()), "num_heads_second": int(acts_b.sum()),
        "threshold": THRESHOLD, "share_first": (best > THRESHOLD).mean(),
        "share_second": (match.max(axis=0) > THRESHOLD).mean(),
        "share_one_to_one": pairs / ((acts_a.sum() + acts_b.sum()) / 2),
        "share_direction": (cosine.max(axis=1) > THRESHOLD).mean(),
        "share_firing": (correlation.max(axis=1) > THRESHOLD).mean(),
        "mean_match": best.mean(), "histogram": histogram.tolist(),
    }


def share(target, predicted):
    return 1 - ((target - predicted) ** 2).sum() / ((target - target.mean(axis=0)) ** 2).sum()


def ridge_share(fit_x, fit_y, x, y):
    """Ridge regression as least squares with D more rows: sqrt(penalty) times the unit matrix, to be 0."""
    mean_x, mean_y = fit_x.mean(axis=0), fit_y.mean(axis=0)
    penalty = D * np.linalg.eigvalsh(np.cov(fit_x.T, bias=True)).mean()
    rows = np.concatenate([fit_x - mean_x, np.sqrt(penalty) * np.eye(D)])
    weight = np.linalg.lstsq(rows, np.concatenate([fit_y - mean_y, np.zeros((D, D))]), rcond=None)[0]
    return share(y, (x - mean_x) @ weight + mean_y)


def least_squares_share(fit_x, fit_y, x, y):
    def with_one(values):
        return np.concatenate([np.ones((len(values), 1)), values], axis=1)

    return share(y, with_one(x) @ np.linalg.lstsq(with_one(fit_x), fit_y, rcond=None)[0])


def norm_features(data, chosen, counts):
    p = data["position"][chosen].astype(np.float64)
    t = np.linalg.norm(data["t"][chosen], axis=1)
    waves = [f(2 * np.pi * k * p / T) for k in (1, 2) for f in (np.sin, np.cos)]
    features = {
        "reference_error": (data["r"][chosen] ** 2).sum(axis=1)[:, None],
        "target_norm": np.stack([t, t ** 2], axis=1),
        "position": np.stack([p / T, np.log(1 + p), *waves], axis=1),
        "token_frequency": np.log(1.0 + np.array([counts.get(int(token), 0) for token in data["token"][chosen]]))[:, None],
        "attention_entropy": data["entropy"][chosen],
    }
    return {**features, "all": np.concatenate(list(features.values()), axis=1)}


def analyze_errors(data, fit, judged):
    t, e, r = (data[name][judged] for name in "ter")
    counts = {}
    for token in data["token"][fit]:
        counts[int(token)] = counts.get(int(token), 0) + 1
    fit_features, features = norm_features(data, fit, counts), norm_features(data, judged, counts)
    square = (data["e"] ** 2).sum(axis=1)
    norm_t, norm_e, norm_r = (np.linalg.norm(v, axis=1) for v in (t, e, r))
    bins = np.array_split(np.argsort(norm_t, kind="stable"), [i * len(t) // 20 for i in range(1, 20)])
    slope = np.polyfit(np.log(norm_t), np.log(norm_e), 1)[0]
    centred = [v - v.mean(axis=0) for v in (t, e, r)]
    _, _, directions = np.linalg.svd(centred[0], full_matrices=False)
    along_t, along_e, along_r = (((v @ directions.T) ** 2).sum(axis=0) for v in centred)
    fvu = (e ** 2).sum() / (centred[0] ** 2).sum()
    return {
        "num_fit_tokens": int(fit.sum()), "num_tokens": int(judged.sum()), "fvu": fvu,
        "reference_fvu": (r ** 2).sum() / (centred[0] ** 2).sum(),
        "vector_from_reference": ridge_share(data["r"][fit], data["e"][fit], r, e),
        "vector_from_input": ridge_share(data["x"][fit], data["e"][fit], data["x"][judged], e),
        "vector_from_target": ridge_share(data["t"][fit], data["e"][fit], t, e),
        "norm_from": {name: least_squares_share(fit_features[name], square[fit], features[name], square[judged])
                      for name in features},
        "by_target_norm": [{"target_norm": norm_t[b].mean(), "error_norm": norm_e[b].mean(),
                            "reference_error_norm": norm_r[b].mean()} for b in bins],
        "log_slope": slope, "log_correlation": np.corrcoef(np.log(norm_t), np.log(norm_e))[0, 1],
        "variance_share": (along_t / along_t.sum()).tolist(), "unexplained": (along_e / along_t).tolist(),
        "reference_unexplained": (along_r / along_t).tolist(),
    }


def main():
    layer, first, second, sae, x, target, tokens, heldout = make_inputs(np.random.default_rng(7))
    double = [{name: value.astype(np.float64) for name, value in w.items()} for w in (layer, first, second, sae)]
    x64, t64 = x.astype(np.float64), target.astype(np.float64)
    scored = (tokens != 0).reshape(-1)
    training = np.flatnonzero(heldout == 0)
    assert FIT_ROWS < len(training)
    fit_rows = training[[i * len(training) // FIT_ROWS for i in range(FIT_ROWS)]]
    fit = scored & np.repeat(np.isin(np.arange(ROWS), fit_rows), T)
    judged = scored & np.repeat(heldout == 1, T)

    acts = {name: np.concatenate([activations(w, row, top_k) for row in rows])
            for name, w, rows, top_k in (("first", double[1], x64, K), ("second", double[2], x64, K),
                                         ("sae", double[3], t64, SAE_K))}
    flat_t = t64.reshape(-1, D)
    data = {
        "x": x64.reshape(-1, D), "t": flat_t, "e": flat_t - (acts["first"] @ double[1]["W_O"] + double[1]["b_D"]),
        "r": flat_t - (acts["sae"] @ double[3]["W_O"] + double[3]["b_D"]), "token": tokens.reshape(-1),
        "position": np.tile(np.arange(T), ROWS),
        "entropy": np.concatenate([np.stack([-np.where(p > 0, p * np.log(np.maximum(p, 1e-300)), 0).sum(axis=1)
                                             for p in layer_patterns(double[0], row)], axis=1) for row in x64]),
    }
    expected = {
        "stability": match_heads(acts["first"][judged], acts["second"][judged], double[1]["W_O"], double[2]["W_O"]),
        "errors": analyze_errors(data, fit, judged),
    }
    OUT.mkdir(parents=True, exist_ok=True)
    tensors = {"input": x, "target": target, "tokens": tokens, "heldout": heldout,
               "sizes": np.array([K, SAE_K, FIT_ROWS], dtype=np.int64)}
    for prefix, weights in (("layer", layer), ("first", first), ("second", second), ("sae", sae)):
        tensors |= {f"{prefix}.{name}": np.ascontiguousarray(value) for name, value in weights.items()}
    save_file(tensors, OUT / "measures.safetensors")
    (OUT / "measures.json").write_text(json.dumps(expected, indent=1) + "\n")


if __name__ == "__main__":
    main()
