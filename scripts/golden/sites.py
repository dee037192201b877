#!/usr/bin/env python3
"""Writes what MLPs read and write, and logits with edited sites, with Hugging Face transformers in float32 on the CPU.

usage: scripts/golden/sites.py      (needs scripts/golden/requirements.txt)

tests/golden/lm/sites.safetensors    for tests/golden/lm/tiny-*: NAME.input.L and NAME.output.L of the MLP of layer
                                     L; NAME.edited: logits where the attention's output of layer 0 is halved, that of
                                     layer 1 doubled and the MLP's of layer 1 negated, all at once

Inputs are those of a site: for RMS norms x / rms(x), before the gain, for layer norms the norm's output.
"""

import json
import torch
import transformers
from safetensors.torch import load_file, save_file

from models import GOLDEN, body

EDITS = {(0, "attention"): 0.5, (1, "mlp"): -1.0, (1, "attention"): 2.0}


def modules(model, layer):
    blocks, layer_norm = body(model)
    block = blocks[layer]
    return block.post_attention_layernorm, block.mlp, block.attention if layer_norm else block.self_attn, layer_norm


def mlp_io(model, tokens):
    found, handles = {}, []
    for layer in range(model.config.num_hidden_layers):
        norm, mlp, _, layer_norm = modules(model, layer)

        def take_input(module, args, output, layer=layer, layer_norm=layer_norm):
            x = args[0].double()
            unit = output if layer_norm else x * torch.rsqrt(x.square().mean(-1, keepdim=True) + module.variance_epsilon)
            found[f"input.{layer}"] = unit.float().contiguous()

        def take_output(_, args, output, layer=layer):
            found[f"output.{layer}"] = output.clone().contiguous()

        handles += [norm.register_forward_hook(take_input), mlp.register_forward_hook(take_output)]
    model(tokens, use_cache=False)
    for handle in handles:
        handle.remove()
    return found


def edited_logits(model, tokens):
    handles = []
    for (layer, component), factor in EDITS.items():
        _, mlp, attention, _ = modules(model, layer)
        if component == "mlp":
            handles.append(mlp.register_forward_hook(lambda _, args, output, factor=factor: output * factor))
        else:
            handles.append(attention.register_forward_hook(
                lambda _, args, output, factor=factor: (output[0] * factor, *output[1:])))
    logits = model(tokens, use_cache=False).logits
    for handle in handles:
        handle.remove()
    return logits.contiguous()


@torch.no_grad()
def main():
    out = {}
    for folder in sorted(path for path in (GOLDEN / "lm").glob("tiny-*") if path.is_dir()):
        if "rope_parameters" in json.loads((folder / "config.json").read_text()):
            continue  # the words of transformers 5, which the version here would leave out
        model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
        tokens = load_file(folder.with_suffix(".safetensors"))["tokens"].long()
        found = mlp_io(model.eval(), tokens)
        found["edited"] = edited_logits(model, tokens)
        out |= {f"{folder.name}.{name}": value for name, value in found.items()}
    save_file(out, GOLDEN / "lm" / "sites.safetensors", {"transformers": transformers.__version__})


if __name__ == "__main__":
    main()
