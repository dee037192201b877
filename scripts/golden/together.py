#!/usr/bin/env python3
"""Writes three small dictionaries of SmolLM2's sites and what the model loses when they take their sites' places, with
Hugging Face transformers' hooks in float64 on the CPU.

usage: scripts/golden/together.py MODEL_DIR      (needs scripts/golden/requirements.txt; MODEL_DIR: quickstart/model)

tests/golden/eval/together/{attention-17,attention-18,mlp-17}/    a Lorsa, an SAE and a transcoder, random
tests/golden/eval/together/expected.safetensors                   tokens, scored; ce_original, ce_zero; ce and kl of each
                                                                  alone and of all together, ce_together, kl_together

The dictionaries are computed here from their files, by the formulas of docs/method.md. Outputs are replaced at scored positions;
a prediction counts where the token that comes is scored.
"""
import hashlib
import json
import pathlib
import sys

import torch
import transformers
from safetensors.torch import load_file, save_file

OUT = pathlib.Path(__file__).resolve().parents[2] / "tests" / "golden" / "eval" / "together"
D = 576
ROPE = {"rotary_dim": 8, "base": 10000.0, "scaling": "none", "factor": 1.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_context": 8192, "layout": "half_split"}
# name, kind, layer, component, features, QK heads, width of a QK head, K
DICTIONARIES = [("attention-17", "lorsa", 17, "attention", 24, 2, 8, 4), ("attention-18", "sae", 18, "attention", 24, 0, 0, 5),
                ("mlp-17", "transcoder", 17, "mlp", 24, 0, 0, 6)]


def make(name, kind, layer, component, features, heads, width, kept, sha256, generator):
    def random(*shape, scale):
        return torch.randn(*shape, generator=generator) * scale

    names = ("W_V", "b_V", "W_O", "b_D") if kind == "lorsa" else ("W_enc", "b_enc", "W_dec", "b_dec")
    tensors = dict(zip(names, (random(features, D, scale=0.1), random(features, scale=0.1), random(features, D, scale=0.3),
                               random(D, scale=0.1))))
    if kind == "lorsa":
        tensors |= {"W_Q": random(heads, D, width, scale=0.1), "W_K": random(heads, D, width, scale=0.1),
                    "b_Q": random(heads, width, scale=0.2), "b_K": random(heads, width, scale=0.2)}
    folder = OUT / name
    folder.mkdir(parents=True, exist_ok=True)
    save_file({key: value.contiguous() for key, value in tensors.items()}, folder / "model.safetensors", {"format": "pt"})
    rope = ROPE if kind == "lorsa" else ROPE | {"rotary_dim": 0}
    manifest = {"schema": "lorsa-checkpoint-3", "kind": kind, "lorsa_version": "golden", "d_model": D, "num_ov_heads": features,
                "num_qk_heads": heads, "d_qk": width, "top_k": kept, "activation": "topk",
                "attn_scale": 3.0 if kind == "lorsa" else 0.0, "qk_norm": False, "qk_norm_eps": 1e-6, "num_virtual_keys": 0,
                "rope": rope, "normalization": "folded", "input_scale": 1.0, "target_scale": 1.0,
                "language_model": {"name": "SmolLM2-135M-Instruct", "weights_sha256": sha256, "layer": layer,
                                   "component": component, "input_convention": "rms_normalized"},
                "training": {}}
    (folder / "lorsa.json").write_text(json.dumps(manifest, indent=1) + "\n")


def rotated(x):
    """x [B, S, T, E], half split."""
    half = ROPE["rotary_dim"] // 2
    frequency = ROPE["base"] ** (-torch.arange(half, dtype=torch.float64) / half)
    angle = torch.arange(x.shape[-2], dtype=torch.float64)[:, None] * frequency
    a, b = x[..., :half], x[..., half:2 * half]
    return torch.cat([a * angle.cos() - b * angle.sin(), b * angle.cos() + a * angle.sin()], -1)


def output(name, x, target):
    """What the dictionary in OUT/name writes, x and target [B, T, D] float64."""
    manifest = json.loads((OUT / name / "lorsa.json").read_text())
    w = {key: value.double() for key, value in load_file(OUT / name / "model.safetensors").items()}
    if manifest["kind"] == "lorsa":
        W_V, b_V, W_O, b_D = (w[key] for key in ("W_V", "b_V", "W_O", "b_D"))
        q = rotated(torch.einsum("btd,sde->bste", x, w["W_Q"]) + w["b_Q"][None, :, None])
        k = rotated(torch.einsum("btd,sde->bste", x, w["W_K"]) + w["b_K"][None, :, None])
        score = q @ k.transpose(-1, -2) / manifest["attn_scale"]
        future = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool).triu(1)
        pattern = score.masked_fill(future, -torch.inf).softmax(-1)
        v = x @ W_V.T + b_V
        group = manifest["num_ov_heads"] // manifest["num_qk_heads"]
        z = torch.stack([torch.einsum("btj,bj->bt", pattern[:, h // group], v[..., h]) for h in range(W_V.shape[0])], -1)
    else:
        W_V, b_V, W_O, b_D = (w[key] for key in ("W_enc", "b_enc", "W_dec", "b_dec"))
        z = (target if manifest["kind"] == "sae" else x) @ W_V.T + b_V
    chosen = (z.relu() * W_O.norm(dim=1)).topk(manifest["top_k"]).indices
    return torch.zeros_like(z).scatter(-1, chosen, z.relu().gather(-1, chosen)) @ W_O + b_D


def run(model, tokens, scored, replaced, zero=False):
    """Log-probabilities with the outputs of these dictionaries' sites replaced."""
    handles = []
    for name, _, layer, component, *_ in replaced:
        block = model.model.layers[layer]
        norm, module = ((block.input_layernorm, block.self_attn) if component == "attention"
                        else (block.post_attention_layernorm, block.mlp))
        seen = {}

        def take(module_, args, _, seen=seen):
            x = args[0]
            seen["x"] = x * torch.rsqrt(x.square().mean(-1, keepdim=True) + module_.variance_epsilon)

        def put(_, args, out, name=name, seen=seen):
            own = out[0] if isinstance(out, tuple) else out
            new = torch.zeros_like(own) if zero else output(name, seen["x"], own)
            new = torch.where(scored[..., None], new, own)
            return (new, *out[1:]) if isinstance(out, tuple) else new

        handles += [norm.register_forward_hook(take), module.register_forward_hook(put)]
    log_p = model(tokens, use_cache=False).logits.double().log_softmax(-1)
    for handle in handles:
        handle.remove()
    return log_p


@torch.no_grad()
def main():
    folder = pathlib.Path(sys.argv[1])
    sha256 = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    generator = torch.Generator().manual_seed(19)
    for dictionary in DICTIONARIES:
        make(*dictionary, sha256, generator)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64, attn_implementation="eager").eval()
    tokens = torch.randint(100, 40000, (2, 40), generator=generator)
    tokens[:, 20:39] = tokens[:, 1:20]
    tokens[:, 0] = 0
    scored = tokens != 0
    scored[1, 30] = False
    counted = scored[:, 1:]

    def ce(log_p):
        return -log_p[:, :-1].gather(-1, tokens[:, 1:, None])[..., 0][counted].mean()

    original = run(model, tokens, scored, [])

    def kl(log_p):
        return (original.exp() * (original - log_p)).sum(-1)[:, :-1][counted].mean()

    alone = [run(model, tokens, scored, [dictionary]) for dictionary in DICTIONARIES]
    together = run(model, tokens, scored, DICTIONARIES)
    save_file({"tokens": tokens.int(), "scored": scored.byte(), "ce_original": ce(original),
               "ce_zero": ce(run(model, tokens, scored, DICTIONARIES, zero=True)),
               "ce_alone": torch.stack([ce(one) for one in alone]), "kl_alone": torch.stack([kl(one) for one in alone]),
               "ce_together": ce(together), "kl_together": kl(together)},
              OUT / "expected.safetensors", {"transformers": transformers.__version__})


if __name__ == "__main__":
    main()
