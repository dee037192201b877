#!/usr/bin/env python3
"""Counts a checkpoint's induction heads with transformers and torch alone, beside what lorsa-eval --families found.

usage: scripts/check_induction.py CHECKPOINT MODEL EVALUATION.json   (needs scripts/golden/requirements.txt)

Rows of BOS and 50 random tokens repeated once, drawn here; the layer's input is taken from transformers, the Lorsa and its
z-patterns are computed from model.safetensors by the formulas of docs/numerics.md and the paper. A head counts if more than half of
its positive z-pattern lies on the induction position, over the second-copy positions at which it acts, if these are at least 1 % of all.
"""
import argparse
import json
import pathlib

import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

ROWS, COPY = 16, 50
# As lorsa-eval: a head must act at 1 % of the positions asked, and at four.
FEWEST = max(4, 0.01 * ROWS * (COPY - 1))


def rope(x, base):
    """x [T, E], half-split."""
    half = x.shape[-1] // 2
    frequency = base ** (-torch.arange(half, dtype=torch.float64) / half)
    angle = torch.arange(x.shape[0], dtype=torch.float64)[:, None] * frequency
    a, b = x[:, :half], x[:, half:]
    return torch.cat([a * angle.cos() - b * angle.sin(), b * angle.cos() + a * angle.sin()], dim=1)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", type=pathlib.Path)
    parser.add_argument("model")
    parser.add_argument("evaluation", type=pathlib.Path)
    args = parser.parse_args()
    info = json.loads((args.checkpoint / "lorsa.json").read_text())
    if info["normalization"] != "folded" or info["activation"] != "topk" or info["qk_norm"] or info["num_virtual_keys"]:
        parser.error(f"{args.checkpoint}: expected a folded topk Lorsa without QK norm and virtual keys")
    w = {name: tensor.double() for name, tensor in load_file(args.checkpoint / "model.safetensors").items()}
    model = AutoModelForCausalLM.from_pretrained(args.model, dtype=torch.float32).eval()
    layer = info["language_model"]["layer"]
    norm = model.model.layers[layer].input_layernorm
    seen = []
    norm.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].double()))

    H, S, K, scale = info["num_ov_heads"], info["num_qk_heads"], info["top_k"], info["attn_scale"]
    out_norm = w["W_O"].norm(dim=1)
    on_answer, total, acts = torch.zeros(H, dtype=torch.float64), torch.zeros(H, dtype=torch.float64), torch.zeros(H)
    generator = torch.Generator().manual_seed(1)
    for _ in range(ROWS):
        r = torch.randint(100, model.config.vocab_size, (COPY,), generator=generator)
        tokens = torch.cat([torch.zeros(1, dtype=torch.long), r, r])
        seen.clear()
        with torch.no_grad():
            model.model(tokens[None])
        x = seen[0][0]
        x = x / (x.square().mean(dim=1, keepdim=True) + norm.variance_epsilon).sqrt()
        T = len(tokens)
        v = x @ w["W_V"].T + w["b_V"]  # [T, H]
        z = torch.empty(T, H, dtype=torch.float64)
        patterns = []
        for s in range(S):
            q = rope(x @ w["W_Q"][s] + w["b_Q"][s], info["rope"]["base"])
            k = rope(x @ w["W_K"][s] + w["b_K"][s], info["rope"]["base"])
            score = (q @ k.T / scale).masked_fill(torch.ones(T, T).triu(1).bool(), -torch.inf)
            patterns.append(score.softmax(dim=1))
            group = slice(s * H // S, (s + 1) * H // S)
            z[:, group] = patterns[-1] @ v[:, group]
        kept = (z.clamp_min(0) * out_norm).topk(K, dim=1).indices
        for i in range(COPY + 1, 2 * COPY):
            for h in kept[i].tolist():
                if z[i, h] > 0:
                    share = (patterns[h * S // H][i] * v[:, h]).clamp_min(0)
                    on_answer[h] += share[i - COPY + 1]
                    total[h] += share.sum()
                    acts[h] += 1
    scored = acts >= FEWEST
    score = torch.where(scored, on_answer / total, torch.nan)
    found = json.loads(args.evaluation.read_text())
    family = next(f for f in found["families"]["probes"] if f["family"] == "induction")
    ours = {entry["head"] for entry in family["heads"]}
    theirs = set((score > 0.5).nonzero().squeeze(1).tolist())
    print(f"transformers and torch: {len(theirs)} induction heads of {int(scored.sum())} scored")
    print(f"lorsa-eval:             {len(ours)} induction heads of {family['num_scored']} scored")
    print(f"in both:                {len(ours & theirs)}")


if __name__ == "__main__":
    main()
