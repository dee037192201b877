#!/usr/bin/env python3
"""Writes the golden files of the language models with Hugging Face transformers, in float32 on the CPU.

usage: scripts/golden/models.py [MODEL_DIR]      (needs scripts/golden/requirements.txt)

tests/golden/lm/smollm2.safetensors   8 prompts: token ids; logits of the last position (two prompts in full), argmax
                                      and log-sum-exp of every position, logits at 2048 random entries; attention
                                      inputs and targets of layers 0, 17 and 29 on one prompt
tests/golden/lm/{tiny,long}-*/        small random models as transformers saves them; those of RESPELLED with the rotary
                                      settings in the words of transformers 5
tests/golden/lm/tiny-*.safetensors    their tokens, logits, attention inputs and targets
tests/golden/lm/long-*.safetensors    12,000 tokens; logits, inputs and targets at the sampled positions
tests/golden/kernels/rope.safetensors cos and sin tables (float32)

Without MODEL_DIR smollm2.safetensors stays as it is.
"""
import json
import pathlib
import shutil
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


def body(model):
    """The blocks and whether their norm is a LayerNorm."""
    return (model.gpt_neox.layers, True) if hasattr(model, "gpt_neox") else (model.model.layers, False)


def attention_io(model, tokens, layers):
    """What the attention of `layers` reads and writes, by hooks: x / rms(x) (before the gain) or the LayerNorm's output."""
    found, handles = {}, []
    blocks, layer_norm = body(model)
    for layer in layers:
        block = blocks[layer]

        def take_input(_, args, output, layer=layer):
            if layer_norm:
                found[f"input.{layer}"] = output.clone()
            else:
                x, eps = args[0].double(), blocks[layer].input_layernorm.variance_epsilon
                found[f"input.{layer}"] = (x * torch.rsqrt(x.square().mean(-1, keepdim=True) + eps)).float()

        def take_target(_, args, output, layer=layer):
            found[f"target.{layer}"] = output[0].clone()

        handles.append(block.input_layernorm.register_forward_hook(take_input))
        attention = block.attention if layer_norm else block.self_attn
        handles.append(attention.register_forward_hook(take_target))
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


LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
          "original_max_position_embeddings": 128}
TINY_SIZES = dict(vocab_size=97, hidden_size=24, intermediate_size=34, num_hidden_layers=3, max_position_embeddings=256)
LONG_SIZES = dict(vocab_size=61, hidden_size=20, intermediate_size=26, num_hidden_layers=2, max_position_embeddings=16384)
LONG_POSITIONS = [*range(8), 127, 128, 255, 256, 1023, 1024, 4095, 4096, 8191, 8192, *range(11984, 12000)]

MODELS = {
    # name: (family, config, stored dtype, shard size); what the names leave open stands in the config
    "tiny-tied": ("Llama", TINY_SIZES | dict(
        num_attention_heads=6, num_key_value_heads=2, head_dim=10, attention_bias=True, mlp_bias=True,
        tie_word_embeddings=True, rope_scaling={"rope_type": "linear", "factor": 2.5}, rms_norm_eps=1e-3),
        torch.float32, "10GB"),
    "tiny-llama3": ("Llama", TINY_SIZES | dict(
        num_attention_heads=6, num_key_value_heads=2, head_dim=8, tie_word_embeddings=False, rope_theta=500.0,
        rope_scaling=LLAMA3), torch.bfloat16, "12KB"),
    "tiny-plain": ("Llama", TINY_SIZES | dict(num_attention_heads=3, num_key_value_heads=3, tie_word_embeddings=False),
                   torch.float16, "10GB"),
    "tiny-qwen3": ("Qwen3", TINY_SIZES | dict(
        hidden_size=22, num_attention_heads=6, num_key_value_heads=2, head_dim=10, tie_word_embeddings=True,
        rope_theta=1000.0), torch.bfloat16, "10GB"),
    "tiny-qwen3-bias": ("Qwen3", TINY_SIZES | dict(
        hidden_size=20, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=4, head_dim=6,
        attention_bias=True, tie_word_embeddings=False, rope_scaling=LLAMA3, rms_norm_eps=1e-4),
        torch.float32, "15KB"),
    "tiny-neox": ("GPTNeoX", TINY_SIZES | dict(
        hidden_size=30, num_attention_heads=3, rotary_pct=0.25, hidden_act="gelu", tie_word_embeddings=False),
        torch.float16, "10GB"),
    "tiny-neox-sequential": ("GPTNeoX", TINY_SIZES | dict(
        hidden_size=28, num_attention_heads=2, rotary_pct=0.6, rotary_emb_base=500, hidden_act="gelu_new",
        use_parallel_residual=False, attention_bias=False, tie_word_embeddings=True, layer_norm_eps=1e-3),
        torch.bfloat16, "8KB"),
    "tiny-neox-respelled": ("GPTNeoX", TINY_SIZES | dict(
        hidden_size=24, num_hidden_layers=2, num_attention_heads=4, rotary_pct=0.7, rotary_emb_base=300,
        hidden_act="gelu_fast", use_parallel_residual=True, rope_scaling={"rope_type": "linear", "factor": 3.0}),
        torch.bfloat16, "10GB"),
    "long-llama3": ("Llama", LONG_SIZES | dict(
        num_attention_heads=6, num_key_value_heads=2, head_dim=12, rope_theta=10000.0,
        rope_scaling=LLAMA3 | {"factor": 32.0, "original_max_position_embeddings": 1024}), torch.bfloat16, "10GB"),
    "long-qwen3": ("Qwen3", LONG_SIZES | dict(
        num_attention_heads=4, num_key_value_heads=2, head_dim=8, rope_theta=1e6, tie_word_embeddings=True),
        torch.bfloat16, "10GB"),
    "long-neox": ("GPTNeoX", LONG_SIZES | dict(
        hidden_size=24, num_attention_heads=2, rotary_pct=0.5, rope_scaling={"rope_type": "linear", "factor": 4.0}),
        torch.bfloat16, "10GB"),
}
RESPELLED = ("tiny-qwen3", "tiny-neox-respelled", "long-qwen3")


def write_model(name, seed):
    """Saves the random model and loads it again as float32."""
    family, settings, dtype, shard = MODELS[name]
    folder = GOLDEN / "lm" / name
    shutil.rmtree(folder, ignore_errors=True)
    torch.manual_seed(seed)
    config = getattr(transformers, f"{family}Config")(initializer_range=0.3, pad_token_id=None, **settings)
    model = getattr(transformers, f"{family}ForCausalLM")(config).eval()
    for key, value in model.named_parameters():  # transformers starts gains at 1 and biases at 0
        if key.endswith("bias"):
            value.uniform_(-0.5, 0.5)
        elif "q_norm" in key or "k_norm" in key:
            value.uniform_(1.0, 2.5)  # scores have no other scale
        elif "norm" in key:
            value.uniform_(0.5, 1.5)
    model.to(dtype).save_pretrained(folder, max_shard_size=shard)
    (folder / "generation_config.json").unlink(missing_ok=True)
    return transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def respell(folder):
    """Rewrites the rotary settings as transformers 5 spells them (transformers 4 reads only its own spelling)."""
    config = json.loads((folder / "config.json").read_text())
    scaling = config.pop("rope_scaling", None) or {"rope_type": "default"}
    base = [config.pop(key) for key in ("rope_theta", "rotary_emb_base") if key in config]
    config["rope_parameters"] = scaling | {"rope_theta": base[0]}
    config.pop("partial_rotary_factor", None)
    if "rotary_pct" in config:
        config["rope_parameters"]["partial_rotary_factor"] = config.pop("rotary_pct")
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")


def require_uneven_attention(name, tokens):
    """With nearly uniform attention a mistake in the scores would hardly show."""
    model = transformers.AutoModelForCausalLM.from_pretrained(GOLDEN / "lm" / name, attn_implementation="eager",
                                                              dtype=torch.float32)
    for pattern in model(tokens[:, :48], output_attentions=True, use_cache=False).attentions:
        assert pattern[:, :, -1].amax(-1).mean() > 6 / 48, (name, pattern[:, :, -1].amax(-1).mean())


def write_small_models():
    for number, (name, (_, settings, _, _)) in enumerate(MODELS.items()):
        model = write_model(name, 100 + number)
        layers = range(settings["num_hidden_layers"])
        if name.startswith("long"):
            tokens = torch.randint(0, settings["vocab_size"], (1, 12000))
            logits, found = attention_io(model, tokens, layers)
            found = {key: value[:, LONG_POSITIONS].contiguous() for key, value in found.items()}
            found["positions"] = torch.tensor(LONG_POSITIONS)
            logits, stored = logits[:, LONG_POSITIONS].contiguous(), tokens.to(torch.int16)
        else:
            tokens = torch.randint(0, settings["vocab_size"], (2, 48))
            logits, found = attention_io(model, tokens, layers)
            stored = tokens
        require_uneven_attention(name, tokens)
        save_file({"tokens": stored, "logits": logits, **found}, GOLDEN / "lm" / f"{name}.safetensors")
        if name in RESPELLED:
            respell(GOLDEN / "lm" / name)


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
    write_small_models()
    if len(sys.argv) > 1:
        write_smollm2(pathlib.Path(sys.argv[1]))


if __name__ == "__main__":
    main()
