#!/usr/bin/env python3
"""Writes checkpoints of other projects with inputs and the outputs that are right for them.

usage: scripts/golden/interchange.py       (needs torch, and `pip install --no-deps llamascopium==2.0.0b34 einops jaxtyping
                                            wadler-lindig pydantic pydantic-core annotated-types typing-inspection`)

tests/golden/interchange/dataset-wise, folded     llamascopium 2.0.0b34 wrote and computed them elsewhere; this script does not.
                                                  One model, scaled and folded
tests/golden/interchange/jumprelu, batchtopk      written and computed here by llamascopium's own classes, of which TransformerLens'
                                                  hook points are left out. jumprelu: QK norm, adjacent pairs, Llama-3 frequencies,
                                                  thresholds, scaled. batchtopk: no positions, no decoder bias, folded, bfloat16
tests/golden/interchange/original-relu, -signed   final.pth of the method's first repository, from plain modules with its names and
                                                  shapes, and the output by loops over heads in double. relu: Llama-3 frequencies,
                                                  adjacent pairs, saved from "cuda:0". signed: virtual keys that every query meets
reference.safetensors in each: x and y, raw; of the first two also hidden_pre and feature_acts
"""
import functools
import importlib.util
import json
import math
import pathlib
import sys
import types

import torch
from safetensors.torch import load_file, save_file

OUT = pathlib.Path(__file__).resolve().parents[2] / "tests" / "golden" / "interchange"


@functools.cache
def peer_classes():
    """LorsaConfig and LowRankSparseAttention without what only serves language models and hooks."""
    def module(name, **members):
        made = types.ModuleType(name)
        made.__dict__.update(members)
        sys.modules[name] = made
        return made

    class HookedRootModule(torch.nn.Module):
        def setup(self):
            pass

    nothing = type("Nothing", (), {})
    module("transformer_lens", __version__="")
    module("transformer_lens.components", Attention=nothing, GroupedQueryAttention=nothing)
    module("transformer_lens.hook_points", HookPoint=torch.nn.Identity, HookedRootModule=HookedRootModule)
    folder = importlib.util.find_spec("llamascopium").submodule_search_locations
    module("llamascopium").__path__ = list(folder)
    module("llamascopium.backend").__path__ = [str(pathlib.Path(folder[0]) / "backend")]
    module("llamascopium.backend.language_model", LanguageModelConfig=nothing)
    from llamascopium.models.lorsa import LorsaConfig, LowRankSparseAttention

    return LorsaConfig, LowRankSparseAttention


def peer_model(generator, norms=None, **settings):
    config_class, model_class = peer_classes()
    config = config_class(hook_point_in="blocks.2.ln1.hook_normalized", hook_point_out="blocks.2.hook_attn_out", **settings)
    model = model_class(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            value = torch.randn(parameter.shape, generator=generator) * 0.3
            parameter.copy_(value + 1.0 if name.startswith("ln_") else value - 1.0 if "threshold" in name else value)
    if norms is not None:
        model.set_dataset_average_activation_norm(dict(zip((config.hook_point_in, config.hook_point_out), norms)))
    return config, model


def peer_output(config, model, x):
    hooks = (config.hook_point_in, config.hook_point_out)
    with torch.no_grad():
        batch, scales = model.normalize_activations({hook: x for hook in hooks}, return_scale_factor=True)
        return model(batch[hooks[0]]) / scales[hooks[1]]


def write_peer(name, config, model, x):
    folder = OUT / name
    folder.mkdir(parents=True, exist_ok=True)
    config.save_hyperparameters(folder)
    model.save_pretrained(folder)
    save_file({"x": x, "y": peer_output(config, model, x)}, folder / "reference.safetensors")


def write_peers(generator):
    config, model = peer_model(
        generator, norms=(3.7, 2.9), d_model=12, expansion_factor=2.5, act_fn="jumprelu", n_qk_heads=3, d_qk_head=8, rotary_dim=8,
        rotary_base=500, use_NTK_by_parts_rope=True, NTK_by_parts_factor=4.0, NTK_by_parts_low_freq_factor=1.0,
        NTK_by_parts_high_freq_factor=4.0, old_context_len=64, n_ctx=24, use_post_qk_ln=True, normalization_type="RMS", eps=1e-5,
        jumprelu_threshold_window=1.5)
    write_peer("jumprelu", config, model, torch.randn(2, 20, 12, generator=generator))

    config, model = peer_model(
        generator, norms=(2.0, 5.0), d_model=12, expansion_factor=2.0, act_fn="batchtopk", norm_activation="inference", top_k=3,
        n_qk_heads=4, d_qk_head=6, positional_embedding_type="none", rotary_dim=6, n_ctx=16, attn_scale=1.7, use_decoder_bias=False)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(parameter.bfloat16())
    write_peer("batchtopk", config, model, torch.randn(2, 11, 12, generator=generator))
    weights = load_file(OUT / "batchtopk" / "sae_weights.safetensors")
    narrow = {key: value.bfloat16() if value.ndim > 0 and value.is_floating_point() else value for key, value in weights.items()}
    save_file(narrow, OUT / "batchtopk" / "sae_weights.safetensors", {"version": "2.0.0b34"})


class Original(torch.nn.Module):
    """The names and shapes of the first repository's module."""

    def __init__(self, c, tables, generator):
        super().__init__()
        D, S, H, E, n = c["d_model"], c["n_qk_heads"], c["n_ov_heads"], c["d_qk_head"], c["virtual_kv_num"]

        def parameter(*shape):
            return torch.nn.Parameter(torch.randn(*shape, generator=generator) * 0.4)

        self.W_Q, self.W_K = parameter(S, D, E), parameter(S, D, E)
        self.W_V, self.W_O = parameter(H, D, 1), parameter(H, 1, D)
        self.b_Q, self.b_K, self.b_V, self.b_O = parameter(S, E), parameter(S, E), parameter(H, 1), parameter(D)
        self.b_V.data += 1.0  # so that K heads are positive everywhere
        if n > 0:
            self.virtual_k = parameter(n, S, E)
            self.virtual_v = torch.nn.Parameter(torch.zeros(n, H, 1), requires_grad=False)
        self.register_buffer("mask", torch.ones(c["n_ctx"], c["n_ctx"] + n).bool().tril(n))
        self.register_buffer("IGNORE", torch.tensor(-math.inf))
        self.register_buffer("rotary_sin", tables[0])
        self.register_buffer("rotary_cos", tables[1])


def inverse_frequency(c, pair):
    """Of one pair of dimensions, in double: Llama 3's rule where the config asks for it."""
    frequency = c["rotary_base"] ** (-2.0 * pair / c["rotary_dim"])
    if not c["use_NTK_by_parts_rope"]:
        return frequency
    low, high, factor = c["NTK_by_parts_low_freq_factor"], c["NTK_by_parts_high_freq_factor"], c["NTK_by_parts_factor"]
    turns = c["old_context_len"] * frequency / (2 * math.pi)
    if turns < low:
        return frequency / factor
    if turns > high:
        return frequency
    smooth = (turns - low) / (high - low)
    return (1 - smooth) * frequency / factor + smooth * frequency


def rotary_tables(c):
    pairs = c["rotary_dim"] // 2
    angle = torch.tensor([[t * inverse_frequency(c, i) for i in range(pairs)] for t in range(c["n_ctx"])], dtype=torch.float64)
    columns = angle.repeat_interleave(2, 1) if c["rotary_adjacent_pairs"] else torch.cat([angle, angle], 1)
    return columns.sin().float(), columns.cos().float()


def rotated(c, vector, t):
    out = vector.clone()
    half = c["rotary_dim"] // 2
    for i in range(half):
        a, b = (2 * i, 2 * i + 1) if c["rotary_adjacent_pairs"] else (i, i + half)
        angle = t * inverse_frequency(c, i)
        out[a] = vector[a] * math.cos(angle) - vector[b] * math.sin(angle)
        out[b] = vector[b] * math.cos(angle) + vector[a] * math.sin(angle)
    return out


def original_output(c, weights, x):
    """Raw x [T, D] to raw y, position by position and head by head."""
    w = {name: value.double() for name, value in weights.items() if value.is_floating_point()}
    x = x.double() * math.sqrt(c["d_model"]) / c["avg_norm"]["in"]
    T, S, H = x.shape[0], c["n_qk_heads"], c["n_ov_heads"]
    z = torch.zeros(T, H, dtype=torch.float64)
    for s in range(S):
        q = [rotated(c, x[t] @ w["W_Q"][s] + w["b_Q"][s], t) for t in range(T)]
        k = [rotated(c, x[t] @ w["W_K"][s] + w["b_K"][s], t) for t in range(T)]
        virtual = list(w["virtual_k"][:, s]) if c["virtual_kv_num"] > 0 else []
        for t in range(T):
            scores = torch.stack([q[t] @ key for key in k[: t + 1] + virtual]) / c["attn_scale"]
            pattern = torch.softmax(scores, 0)[: t + 1]
            for h in range(s * (H // S), (s + 1) * (H // S)):
                z[t, h] = pattern @ (x[: t + 1] @ w["W_V"][h, :, 0] + w["b_V"][h, 0])
    y = torch.zeros_like(x)
    for t in range(T):
        score = (z[t].clamp_min(0) if c["use_z_relu"] else z[t].abs()) * w["W_O"][:, 0].norm(dim=1)
        kept = score.topk(c["top_k"]).indices
        assert score[kept].min() > 0  # with fewer than K positive heads its own code keeps negative ones, too
        y[t] = w["b_O"] + sum(z[t, h] * w["W_O"][h, 0] for h in kept)
    return (y * c["avg_norm"]["out"] / math.sqrt(c["d_model"])).float()


def write_original(name, generator, location, **settings):
    c = {"d_qk_head": 8, "d_ov_head": 1, "n_qk_heads": 3, "n_ov_heads": 12, "device": "cuda", "dtype": "torch.float32",
         "virtual_kv_num": 0, "use_z_relu": True, "n_ctx": 16, "layer": 3, "model_name": "EleutherAI/pythia-160m", "mode": "top_k",
         "top_k": 3, "avg_norm": {"in": 4.25, "out": 2.5}, "d_model": 10, "attn_scale": 8.0, "positional_embedding_type": "rotary",
         "rotary_scale": 1, "rotary_dim": 4, "rotary_base": 10000, "rotary_adjacent_pairs": False, "use_NTK_by_parts_rope": False,
         "NTK_by_parts_low_freq_factor": None, "NTK_by_parts_high_freq_factor": None, "NTK_by_parts_factor": None,
         "old_context_len": None} | settings
    module = Original(c, rotary_tables(c), generator)
    x = torch.randn(2, 14, c["d_model"], generator=generator)
    y = torch.stack([original_output(c, module.state_dict(), row) for row in x])
    folder = OUT / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(c, indent=4))
    tag = torch.serialization.location_tag
    torch.serialization.location_tag = lambda storage: location  # where the weights claim to have been
    torch.save(module.state_dict(), folder / "final.pth")
    torch.serialization.location_tag = tag
    save_file({"x": x, "y": y}, folder / "reference.safetensors")


def main():
    generator = torch.Generator().manual_seed(6)
    write_peers(generator)
    write_original("original-relu", generator, "cuda:0", attn_scale=2.0, rotary_dim=8, rotary_base=500, rotary_adjacent_pairs=True,
                   use_NTK_by_parts_rope=True, NTK_by_parts_low_freq_factor=1.0, NTK_by_parts_high_freq_factor=4.0,
                   NTK_by_parts_factor=8.0, old_context_len=64)
    write_original("original-signed", generator, "cpu", use_z_relu=False, virtual_kv_num=2, top_k=4, n_ov_heads=6)


if __name__ == "__main__":
    main()
