#!/usr/bin/env python3
"""Writes a random Lorsa for the tiny model's layer 1, edits of its heads and what they do to next-token predictions.

usage: scripts/golden/intervene.py       (needs scripts/golden/requirements.txt; reads tests/golden/collect/model)

tests/golden/intervene.safetensors  W_*, b_* (unit form, K 4, 4 QK heads of width 8); tokens, counted (predictions that count),
                                    edited (positions); edit_head, edit_value; ce_original, ce_edited, kl over the counted
                                    predictions; p_original, p_edited: what follows the first row

The language model is transformers' in double; the heads are computed and edited one by one, in a hook on the layer's output.
"""
import math
import pathlib

import torch
import transformers
from safetensors.torch import save_file

GOLDEN = pathlib.Path(__file__).resolve().parents[2] / "tests" / "golden"
LAYER, D, S, E, H, K = 1, 24, 4, 8, 24, 4


def rope(x, base=10000.0):
    """Half-split rotary embedding of x [T, E]."""
    half = E // 2
    angle = torch.arange(len(x)).double()[:, None] * base ** -(torch.arange(half).double() / half)
    a, b = x[:, :half], x[:, half:]
    return torch.cat([a * angle.cos() - b * angle.sin(), b * angle.cos() + a * angle.sin()], 1)


def kept_activations(w, x):
    """a [T, H] of one row's input x [T, D]: relu(z) of the K heads with the largest relu(z) |W_O|."""
    z = torch.empty(len(x), H, dtype=torch.double)
    for head in range(H):
        s = head // (H // S)
        q = rope(x @ w["W_Q"][s * E:(s + 1) * E].T + w["b_Q"][s])
        k = rope(x @ w["W_K"][s * E:(s + 1) * E].T + w["b_K"][s])
        scores = q @ k.T / math.sqrt(E)
        pattern = scores.masked_fill(torch.ones_like(scores).triu(1).bool(), -math.inf).softmax(-1)
        z[:, head] = pattern @ (x @ w["W_V"][head] + w["b_V"][head])
    a = z.clamp_min(0)
    best = (a * w["W_O"].norm(dim=1)).topk(K, dim=1).indices
    return torch.zeros_like(a).scatter(1, best, a.gather(1, best))


@torch.no_grad()
def log_probabilities(model, tokens, change=None):
    """log p [B, T, V]; `change` maps the inputs [B, T, D] of the layer to what is added to its output."""
    block = model.model.layers[LAYER]
    seen, hooks = {}, []

    def take_input(_, args):
        x = args[0]
        seen["x"] = x * torch.rsqrt(x.square().mean(-1, keepdim=True) + block.input_layernorm.variance_epsilon)

    if change is not None:
        hooks = [block.input_layernorm.register_forward_pre_hook(take_input),
                 block.self_attn.register_forward_hook(lambda _, args, out: (out[0] + change(seen["x"]), *out[1:]))]
    result = model(tokens, use_cache=False).logits.log_softmax(-1)
    for hook in hooks:
        hook.remove()
    return result


def main():
    model = transformers.LlamaForCausalLM.from_pretrained(GOLDEN / "collect" / "model", dtype=torch.float64).eval()
    generator = torch.Generator().manual_seed(19)

    def random(*shape, scale):
        return (torch.randn(shape, generator=generator) * scale).double()

    w = {"W_Q": random(S * E, D, scale=0.3), "b_Q": random(S, E, scale=0.2), "W_K": random(S * E, D, scale=0.3),
         "b_K": random(S, E, scale=0.2), "W_V": random(H, D, scale=0.4), "b_V": random(H, scale=0.2),
         "W_O": random(H, D, scale=1.0), "b_D": random(D, scale=0.1)}
    w["W_O"] = (w["W_O"] / w["W_O"].norm(dim=1, keepdim=True)).float().double()
    tokens = torch.randint(1, model.config.vocab_size, (3, 14), generator=generator)
    tokens[:, 0] = 0
    counted = torch.rand(tokens.shape, generator=generator) < 0.8
    edited = torch.rand(tokens.shape, generator=generator) < 0.7
    edits = {4: 0.0, 17: 0.0, 9: 1.25, 22: -0.5}

    def change(x):
        result = torch.zeros_like(x)
        for b in range(len(x)):
            a = kept_activations(w, x[b])
            for head, value in edits.items():
                result[b] += edited[b].double()[:, None] * (value - a[:, head])[:, None] * w["W_O"][head]
        return result

    log_p, log_q = log_probabilities(model, tokens), log_probabilities(model, tokens, change)
    rows, positions = counted[:, 1:].nonzero(as_tuple=True)
    p, q, following = log_p[rows, positions], log_q[rows, positions], tokens[:, 1:][rows, positions]

    def cross_entropy(log_probability):
        return -log_probability[torch.arange(len(following)), following].mean()

    values = {"ce_original": cross_entropy(p), "ce_edited": cross_entropy(q), "kl": (p.exp() * (p - q)).sum(1).mean()}
    save_file({**{name: tensor.float() for name, tensor in w.items()},
               "tokens": tokens.int(), "counted": counted.to(torch.uint8), "edited": edited.to(torch.uint8),
               "edit_head": torch.tensor(list(edits)), "edit_value": torch.tensor(list(edits.values()), dtype=torch.double),
               "p_original": log_p[0, -1].exp(), "p_edited": log_q[0, -1].exp(),
               **{name: value.reshape(1) for name, value in values.items()}},
              GOLDEN / "intervene.safetensors", {"transformers": transformers.__version__})
    print({name: value.item() for name, value in values.items()}, len(following), "predictions")


if __name__ == "__main__":
    main()
