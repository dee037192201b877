"""Writes a tiny Llama with a byte-level tokenizer as a Hugging Face folder; the standard library suffices.

    tiny_model.py FOLDER [KEY=JSON | FILE:KEY=JSON]...

KEY=JSON sets a key of config.json; FILE is tok (tokenizer_config.json), gen (generation_config.json), map (special_tokens_map.json) or json
(tokenizer.json). KEY=REMOVE takes the key away. generation_config.json and special_tokens_map.json are written where a key is set.

Ids 0 to 5 are <unk>, <filler>, <spare>, <|bos|>, <|eos|>, <|pad|>; byte b is id 6 + b ("d" is 106). The template of tokenizer.json puts
<|bos|> in front. One layer, two heads of width 4, 512 positions; the weights are the same in every folder.
"""

import json
import random
import struct
import sys
from pathlib import Path

SPECIAL = ["<unk>", "<filler>", "<spare>", "<|bos|>", "<|eos|>", "<|pad|>"]
WIDTH, MLP_WIDTH = 8, 8
FILES = {"": "config.json", "tok": "tokenizer_config.json", "gen": "generation_config.json", "map": "special_tokens_map.json", "json": "tokenizer.json"}


def vocabulary() -> dict[str, int]:
    """The special tokens, then GPT-2's character for every byte."""
    printable = {*range(33, 127), *range(161, 173), *range(174, 256)}
    ids, others = {content: i for i, content in enumerate(SPECIAL)}, 0
    for byte in range(256):
        ids[chr(byte if byte in printable else 256 + others)] = len(SPECIAL) + byte
        others += byte not in printable
    return ids


def tokenizer(vocab: dict[str, int]) -> dict:
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    single = [{"SpecialToken": {"id": "<|bos|>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}]
    return {"version": "1.0", "truncation": None, "padding": None, "normalizer": None,
            "added_tokens": [{"id": i, "content": content, **flags} for i, content in enumerate(SPECIAL)], "pre_tokenizer": byte_level,
            "post_processor": {"type": "TemplateProcessing", "single": single, "pair": [*single, {"Sequence": {"id": "B", "type_id": 0}}],
                               "special_tokens": {"<|bos|>": {"id": "<|bos|>", "ids": [3], "tokens": ["<|bos|>"]}}},
            "decoder": byte_level,
            "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None, "end_of_word_suffix": None, "fuse_unk": False,
                      "byte_fallback": False, "ignore_merges": False, "vocab": vocab, "merges": []}}


def config(vocabulary_size: int) -> dict:
    return {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": vocabulary_size, "hidden_size": WIDTH, "num_hidden_layers": 1,
            "num_attention_heads": 2, "num_key_value_heads": 2, "intermediate_size": MLP_WIDTH, "max_position_embeddings": 512, "rms_norm_eps": 1e-5,
            "rope_theta": 10000.0, "tie_word_embeddings": True, "hidden_act": "silu", "torch_dtype": "float32", "bos_token_id": 3, "eos_token_id": 4}


def weights(vocabulary_size: int) -> bytes:
    """The bytes of model.safetensors: norms near one, products drawn with a fixed seed."""
    layer = "model.layers.0."
    shapes = {"model.embed_tokens.weight": [vocabulary_size, WIDTH], "model.norm.weight": [WIDTH], layer + "input_layernorm.weight": [WIDTH],
              layer + "post_attention_layernorm.weight": [WIDTH], layer + "mlp.gate_proj.weight": [MLP_WIDTH, WIDTH],
              layer + "mlp.up_proj.weight": [MLP_WIDTH, WIDTH], layer + "mlp.down_proj.weight": [WIDTH, MLP_WIDTH],
              **{f"{layer}self_attn.{name}_proj.weight": [WIDTH, WIDTH] for name in "qkvo"}}
    draw, header, data = random.Random(0), {"__metadata__": {"format": "pt"}}, b""
    for name, shape in shapes.items():
        mean, deviation = (1.0, 0.1) if len(shape) == 1 else (0.0, 0.5)
        count = shape[0] * (shape[1] if len(shape) > 1 else 1)
        values = struct.pack(f"<{count}f", *(draw.gauss(mean, deviation) for _ in range(count)))
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [len(data), len(data) + len(values)]}
        data += values
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + data


def write_model(folder: Path, settings: list[str]) -> None:
    vocab = vocabulary()
    files = {"": config(len(vocab)), "gen": {}, "map": {}, "json": tokenizer(vocab),
             "tok": {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<|bos|>", "eos_token": "<|eos|>", "pad_token": "<|pad|>"}}
    for setting in settings:
        name, value = setting.split("=", 1)
        file, _, key = name.rpartition(":")
        if value == "REMOVE":
            files[file].pop(key, None)
        else:
            files[file][key] = json.loads(value)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.safetensors").write_bytes(weights(len(vocab)))
    for file, content in files.items():
        if content:
            (folder / FILES[file]).write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    write_model(Path(sys.argv[1]), sys.argv[2:])
