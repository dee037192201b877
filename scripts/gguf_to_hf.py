"""Turns a Llama-architecture GGUF file into a Hugging Face folder that lorsa and transformers read.

Writes config.json, model.safetensors (float32, dequantised), tokenizer.json and tokenizer_config.json into OUT_DIR.
Every file is written beside and renamed; config.json comes last, so a folder with a config.json is complete.

Float32 because the dequantised values do not fit bfloat16: rounding them once more would change the model.
"""

import argparse
import json
import os
import sys
from pathlib import Path

import gguf
import numpy as np
from safetensors.numpy import save_file

# The text that separates documents in pre-training. The chat fine-tuning's own <|im_start|> and <|im_end|> mark
# turns of a conversation and would be wrong around plain text.
DOCUMENT_SEPARATOR = "<|endoftext|>"

# Pre-tokenisers by the name that GGUF gives them. Only what was checked against the `tokenizers` package.
PRE_TOKENIZERS = {
    "smollm": [
        {"type": "Digits", "individual_digits": True},
        {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
    ],
}

TENSOR_NAMES = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


def field(reader, key, default=None):
    """The value of a metadata key; a missing one without a default is an error that names it."""
    found = reader.get_field(key)
    if found is not None:
        return found.contents()
    if default is None:
        sys.exit(f"gguf_to_hf: metadata key {key} is missing")
    return default


def to_half_split(weight, num_heads):
    """Undoes GGUF's row order of q and k (adjacent rotary pairs) into Hugging Face's (halves of the head)."""
    rows, columns = weight.shape
    pairs = weight.reshape(num_heads, rows // num_heads // 2, 2, columns)
    return pairs.swapaxes(1, 2).reshape(rows, columns)


def hf_name(name):
    if name == "token_embd.weight":
        return "model.embed_tokens.weight"
    if name == "output_norm.weight":
        return "model.norm.weight"
    if name == "output.weight":
        return "lm_head.weight"
    prefix, layer, kind, suffix = (name.split(".") + [""] * 4)[:4]
    if prefix != "blk" or kind not in TENSOR_NAMES or suffix != "weight":
        sys.exit(f"gguf_to_hf: tensor {name} has no place in a Llama model")
    return f"model.layers.{layer}.{TENSOR_NAMES[kind]}.weight"


def weights(reader, num_heads, num_kv_heads):
    result = {}
    for tensor in reader.tensors:
        values = gguf.quants.dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
        if tensor.name.endswith("attn_q.weight"):
            values = to_half_split(values, num_heads)
        if tensor.name.endswith("attn_k.weight"):
            values = to_half_split(values, num_kv_heads)
        result[hf_name(tensor.name)] = np.ascontiguousarray(values)
    return result


def model_config(reader, bos_id, pad_id, tied):
    d_model = field(reader, "llama.embedding_length")
    num_heads = field(reader, "llama.attention.head_count")
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "_name_or_path": field(reader, "general.name"),
        "vocab_size": field(reader, "llama.vocab_size"),
        "hidden_size": d_model,
        "intermediate_size": field(reader, "llama.feed_forward_length"),
        "num_hidden_layers": field(reader, "llama.block_count"),
        "num_attention_heads": num_heads,
        "num_key_value_heads": field(reader, "llama.attention.head_count_kv", num_heads),
        "head_dim": d_model // num_heads,
        "max_position_embeddings": field(reader, "llama.context_length"),
        # GGUF keeps these two in float32: seven digits give back the number that was meant.
        "rms_norm_eps": float(f"{field(reader, 'llama.attention.layer_norm_rms_epsilon'):.7g}"),
        "rope_theta": float(f"{field(reader, 'llama.rope.freq_base', 10000.0):.7g}"),
        "rope_scaling": None,
        "hidden_act": "silu",
        "attention_bias": False,
        "attention_dropout": 0.0,
        "mlp_bias": False,
        "tie_word_embeddings": tied,
        "bos_token_id": bos_id,
        "eos_token_id": bos_id,
        "pad_token_id": pad_id,
        "initializer_range": 0.02,
        "pretraining_tp": 1,
        "use_cache": True,
        "torch_dtype": "float32",
    }


def tokenizer(reader, tokens):
    if field(reader, "tokenizer.ggml.model") != "gpt2":
        sys.exit("gguf_to_hf: only byte-level BPE tokenizers (gpt2) are supported, this one is "
                 + field(reader, "tokenizer.ggml.model"))
    pre = field(reader, "tokenizer.ggml.pre")
    if pre not in PRE_TOKENIZERS:
        sys.exit(f"gguf_to_hf: pre-tokenizer {pre} is unknown; known: {', '.join(PRE_TOKENIZERS)}")
    added = [{"id": token_id, "content": tokens[token_id], "single_word": False, "lstrip": False, "rstrip": False,
              "normalized": False, "special": kind == gguf.TokenType.CONTROL}
             for token_id, kind in enumerate(field(reader, "tokenizer.ggml.token_type"))
             if kind in (gguf.TokenType.CONTROL, gguf.TokenType.USER_DEFINED)]
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": PRE_TOKENIZERS[pre]},
        "post_processor": None,
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "model": {
            "type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
            "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
            "vocab": {token: token_id for token_id, token in enumerate(tokens)},
            "merges": field(reader, "tokenizer.ggml.merges"),
        },
    }


def tokenizer_config(reader, tokens, added, pad_id, max_length):
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "add_bos_token": False,
        "add_prefix_space": False,
        "clean_up_tokenization_spaces": False,
        "bos_token": DOCUMENT_SEPARATOR,
        "eos_token": DOCUMENT_SEPARATOR,
        "unk_token": DOCUMENT_SEPARATOR,
        "pad_token": tokens[pad_id],
        "model_max_length": max_length,
        "added_tokens_decoder": {str(token["id"]): {key: token[key] for key in token if key != "id"}
                                 for token in added},
        "chat_template": field(reader, "tokenizer.chat_template", ""),
    }


def replace(path, write):
    """Writes through a file beside `path`, forces it to disk and renames it."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        write(beside)
        with open(beside, "rb") as file:
            os.fsync(file.fileno())
        beside.chmod(0o644)  # safetensors makes its files private
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("gguf", type=Path, help="the GGUF file")
    parser.add_argument("out", type=Path, metavar="OUT_DIR", help="the folder to write")
    parser.add_argument("--name", help="the model's name (default: the one in the GGUF file)")
    arguments = parser.parse_args()

    reader = gguf.GGUFReader(arguments.gguf)
    architecture = field(reader, "general.architecture")
    if architecture != "llama":
        sys.exit(f"gguf_to_hf: architecture {architecture}: expected llama")
    tokens = field(reader, "tokenizer.ggml.tokens")
    if DOCUMENT_SEPARATOR not in tokens:
        sys.exit(f"gguf_to_hf: the vocabulary has no {DOCUMENT_SEPARATOR}")
    bos_id = tokens.index(DOCUMENT_SEPARATOR)
    pad_id = field(reader, "tokenizer.ggml.padding_token_id", bos_id)
    tied = all(tensor.name != "output.weight" for tensor in reader.tensors)
    config = model_config(reader, bos_id, pad_id, tied)
    if arguments.name:
        config["_name_or_path"] = arguments.name
    state = weights(reader, config["num_attention_heads"], config["num_key_value_heads"])
    vocabulary = tokenizer(reader, tokens)

    def json_writer(value):
        return lambda path: path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")

    arguments.out.mkdir(parents=True, exist_ok=True)
    replace(arguments.out / "model.safetensors", lambda path: save_file(state, path, metadata={"format": "pt"}))
    replace(arguments.out / "tokenizer.json", json_writer(vocabulary))
    replace(arguments.out / "tokenizer_config.json", json_writer(tokenizer_config(
        reader, tokens, vocabulary["added_tokens"], pad_id, config["max_position_embeddings"])))
    replace(arguments.out / "config.json", json_writer(config))
    parameters = sum(array.size for array in state.values())
    print(f"{arguments.out}: {len(state)} tensors, {parameters:,} parameters, {len(tokens):,} tokens")


if __name__ == "__main__":
    main()
