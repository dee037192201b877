#!/usr/bin/env python3
"""Writes the golden files of the Llama models with Hugging Face transformers, in float32 on the CPU.

usage: scripts/golden/llama.py [MODEL_DIR]      (default quickstart/model; needs scripts/golden/requirements.txt)

tests/golden/lm/smollm2.safetensors   8 prompts: token ids; logits of the last position (two prompts in full), argmax
                                      and log-sum-exp of every position, logits at 2048 random entries; attention
                                      inputs and targets of layers 0, 17 and 29 on one prompt
tests/golden/lm/tiny-*/               small random models as transformers saves them
tests/golden/lm/tiny-*.safetensors    their tokens, logits, attention inputs and targets
tests/golden/kernels/rope.safetensors cos and sin tables (float32)
"""
import pathlib
import sys

import torch
import transformers
from safetensors.torch import save_file
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

ROOT = pathlib.Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "tests" / "golden"
PROMPTS = {
    "code": "def fib(n):\n    if n < 2:\n        return n\n    return fib(n - 1) + fib(n - 2)\n\n\nclass Stack:\n\tdef __init__(self):\n",
    "digits": "In 1969 he counted 1234567890 stars, 3.14159 pies and 42 answers; 2 + 2 = 4, 17 * 23 = 391.",
    "accents": "Où est la bibliothèque? Der Fuß übt Ästhetik, señor Núñez bebe café à Zürich, żółć, čeština.",
    "emoji": "I love pizza 🍕 and 🚀🚀! Family: 👨‍👩‍👧‍👦, flag: 🇨🇭, thumbs 👍🏽 up.",
    "chinese": "人工智能正在改变世界。北京是中国的首都,今天天气很好。",
    "one": "<|endoftext|>",
    "long": None,  # 300 tokens of a text, below
    "repeated": None,  # 30 random tokens twice
}
LONG_TEXT = " ".join(
    f"Chapter {i}. The {a} {b} walked slowly towards the {c}, because nobody had told the {b} that the {c} was closed."
    for i, (a, b, c) in enumerate(
        [("old", "teacher", "museum"), ("young", "doctor", "harbour"), ("tired", "sailor", "library"),
         ("famous", "painter", "station"), ("quiet", "farmer", "market"), ("clever", "student", "bakery"),
         ("angry", "lawyer", "garden"), ("happy", "singer", "theatre"), ("proud", "soldier", "castle"),
         ("lonely", "writer", "island"), ("gentle", "nurse", "school"), ("brave", "pilot", "airport"),
         ("curious", "child", "forest"), ("patient", "fisher", "river")], 1))


def prompt_ids(folder):
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"))
    generator = torch.Generator().manual_seed(3)
    ids = {name: tokenizer(text, add_special_tokens=False)["input_ids"] for name, text in PROMPTS.items() if text}
    ids["long"] = [0] + tokenizer(LONG_TEXT, add_special_tokens=False)["input_ids"][:299]
    assert len(ids["long"]) == 300 and ids["one"] == [0]
    once = torch.randint(100, 40000, (30,), generator=generator).tolist()
    ids["repeated"] = [0] + once + once
    return {name: torch.tensor([ids[name]]) for name in PROMPTS}


def attention_io(model, tokens, layers):
    """Inputs x / rms(x) (before the gain) and outputs of the attention of `layers`, by hooks."""
    found, handles = {}, []
    for layer in layers:
        block = model.model.layers[layer]
        eps = block.input_layernorm.variance_epsilon

        def take_input(_, args, layer=layer, eps=eps):
            x = args[0].double()
            found[f"input.{layer}"] = (x * torch.rsqrt(x.square().mean(-1, keepdim=True) + eps)).float()

        def take_target(_, args, output, layer=layer):
            found[f"target.{layer}"] = output[0].clone()

        handles.append(block.input_layernorm.register_forward_pre_hook(take_input))
        handles.append(block.self_attn.register_forward_hook(take_target))
    logits = model(tokens, use_cache=False).logits
    for handle in handles:
        handle.remove()
    return logits, {name: value.contiguous() for name, value in found.items()}


def write_smollm2(folder):
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    generator = torch.Generator().manual_seed(5)
    out = {}
    for name, tokens in prompt_ids(folder).items():
        logits = model(tokens, use_cache=False).logits[0]
        length, vocabulary = logits.shape
        position = torch.randint(0, length, (2048,), generator=generator)
        position[: min(length, 256)] = length - 1 - torch.arange(min(length, 256))
        entry = torch.randint(0, vocabulary, (2048,), generator=generator)
        out[f"{name}.tokens"] = tokens[0].int()
        out[f"{name}.argmax"] = logits.argmax(-1).int()
        out[f"{name}.logsumexp"] = logits.double().logsumexp(-1).float()
        out[f"{name}.sample_position"] = position.to(torch.int16)
        out[f"{name}.sample_entry"] = entry.int()
        out[f"{name}.sample_logit"] = logits[position, entry]
        if name in ("code", "chinese"):
            out[f"{name}.last_logits"] = logits[-1].clone()
    tokens = prompt_ids(folder)["accents"][:, :16]
    _, found = attention_io(model, tokens, (0, 17, 29))
    out["taps.tokens"] = tokens[0].int()
    out.update({f"taps.{name}": value[0].contiguous() for name, value in found.items()})
    save_file(out, GOLDEN / "lm" / "smollm2.safetensors", {"transformers": transformers.__version__})


TINY = {
    # name: (config changes, stored dtype, shard size)
    "tiny-tied": (dict(num_attention_heads=6, num_key_value_heads=2, head_dim=10, attention_bias=True, mlp_bias=True,
                       tie_word_embeddings=True, rope_scaling={"rope_type": "linear", "factor": 2.5},
                       rms_norm_eps=1e-3), torch.float32, "10GB"),
    "tiny-llama3": (dict(num_attention_heads=6, num_key_value_heads=2, head_dim=8, tie_word_embeddings=False,
                         rope_theta=500.0, rope_scaling={"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
                                                         "high_freq_factor": 4.0,
                                                         "original_max_position_embeddings": 128}),
                    torch.bfloat16, "12KB"),
    "tiny-plain": (dict(num_attention_heads=3, num_key_value_heads=3, tie_word_embeddings=False), torch.float16, "10GB"),
}


def write_tiny():
    for number, (name, (changes, dtype, shard)) in enumerate(TINY.items()):
        torch.manual_seed(100 + number)
        config = transformers.LlamaConfig(vocab_size=97, hidden_size=24, intermediate_size=34, num_hidden_layers=3,
                                          max_position_embeddings=256, initializer_range=0.3, pad_token_id=None,
                                          **changes)
        model = transformers.LlamaForCausalLM(config).eval()
        for key, value in model.named_parameters():  # transformers starts gains at 1 and biases at 0
            if "norm" in key:
                value.uniform_(0.5, 1.5)
            elif key.endswith("bias"):
                value.uniform_(-0.5, 0.5)
        model.to(dtype).save_pretrained(GOLDEN / "lm" / name, max_shard_size=shard)
        (GOLDEN / "lm" / name / "generation_config.json").unlink(missing_ok=True)
        model = transformers.AutoModelForCausalLM.from_pretrained(GOLDEN / "lm" / name, dtype=torch.float32).eval()
        tokens = torch.randint(0, 97, (2, 48))
        logits, found = attention_io(model, tokens, (0, 1, 2))
        save_file({"tokens": tokens, "logits": logits, **found}, GOLDEN / "lm" / f"{name}.safetensors")


def write_rope():
    out = {}
    for name, changes in {
        "plain": dict(head_dim=64, rope_theta=100000.0),
        "linear": dict(head_dim=10, rope_theta=10000.0, rope_scaling={"rope_type": "linear", "factor": 3.0}),
        "llama3": dict(head_dim=128, rope_theta=500000.0,
                       rope_scaling={"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
                                     "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}),
    }.items():
        config = transformers.LlamaConfig(hidden_size=512, num_attention_heads=4, max_position_embeddings=131072,
                                          **changes)
        position = torch.tensor([0, 1, 2, 3, 100, 1000, 4095])
        cos, sin = LlamaRotaryEmbedding(config)(torch.zeros(1), position[None])
        half = config.head_dim // 2
        out[f"{name}.position"] = position
        out[f"{name}.cos"] = cos[0, :, :half].contiguous()
        out[f"{name}.sin"] = sin[0, :, :half].contiguous()
    (GOLDEN / "kernels").mkdir(exist_ok=True)
    save_file(out, GOLDEN / "kernels" / "rope.safetensors")


def main():
    torch.set_grad_enabled(False)
    (GOLDEN / "lm").mkdir(parents=True, exist_ok=True)
    write_rope()
    write_tiny()
    write_smollm2(pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "quickstart" / "model")


if __name__ == "__main__":
    main()
