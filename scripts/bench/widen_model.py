#!/usr/bin/env python3
"""Writes a Llama model again with a wider residual stream whose new dimensions are always 0: the same function, at another width.

usage: scripts/bench/widen_model.py MODEL OUT [--width 768] [--check]

For benchmarks at a width that no model at hand has. Embedding, gains and matrices get zeros; an RMS norm then divides by the root of the
mean over more dimensions, so that its gain is multiplied by sqrt(old / new), and eps by old / new. Heads keep their width (head_dim).
--check compares logits of both on random tokens with transformers (scripts/golden/requirements.txt), in double but for its RMS norms;
they may differ by 1e-4. In float32 its logits of SmolLM2 are that far from those in double as well.
"""
import argparse
import json
import math
import pathlib
import shutil
import sys

import torch
from safetensors.torch import load_file, save_file

OUTPUTS = ("o_proj.weight", "down_proj.weight")  # [D, n]: what writes to the residual stream; all other matrices read it


def widened(name, tensor, old, new):
    def padded(axis):
        assert tensor.shape[axis] == old, f"{name}: {list(tensor.shape)}"
        shape = list(tensor.shape)
        shape[axis] = new - old
        return torch.cat([tensor, tensor.new_zeros(shape)], axis)

    if tensor.ndim == 1:
        return padded(0) * math.sqrt(old / new)
    return padded(0) if name.endswith(OUTPUTS) else padded(1)


def widen(model, out, new):
    config = json.loads((model / "config.json").read_text())
    old = config["hidden_size"]
    if config["architectures"] != ["LlamaForCausalLM"] or config.get("attention_bias") or config.get("mlp_bias") or new < old:
        sys.exit(f"widen_model: {model}: expected a LlamaForCausalLM without biases, no wider than {new}")
    config["head_dim"] = config.get("head_dim") or old // config["num_attention_heads"]
    config["hidden_size"] = new
    config["rms_norm_eps"] = config.get("rms_norm_eps", 1e-6) * old / new
    tensors = load_file(model / "model.safetensors")
    out.mkdir(parents=True, exist_ok=True)
    for path in model.glob("tokenizer*.json"):
        shutil.copyfile(path, out / path.name)
    save_file({name: widened(name, tensor.float(), old, new).contiguous() for name, tensor in tensors.items()}, out / "model.safetensors")
    (out / "config.json").write_text(json.dumps(config, indent=2) + "\n")


@torch.no_grad()
def check(model, out):
    from transformers import AutoModelForCausalLM

    logits = []
    for folder in (model, out):
        network = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64).eval()
        torch.manual_seed(0)
        logits.append(network(torch.randint(0, network.config.vocab_size, (4, 64))).logits)
    worst = (logits[0] - logits[1]).abs().max().item()
    print(f"widen_model: logits of 4 x 64 random tokens differ by at most {worst:.2g}, their largest is {logits[0].abs().max().item():.1f}")
    if not worst <= 1e-4:
        sys.exit("widen_model: expected at most 1e-4")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=pathlib.Path, metavar="MODEL")
    parser.add_argument("out", type=pathlib.Path, metavar="OUT")
    parser.add_argument("--width", type=int, default=768)
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    widen(arguments.model, arguments.out, arguments.width)
    if arguments.check:
        check(arguments.model, arguments.out)


if __name__ == "__main__":
    main()
