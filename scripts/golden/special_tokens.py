"""Writes tests/golden/special_tokens/: what transformers takes as BOS, EOS and PAD of folders whose files disagree or are silent.

    python scripts/golden/special_tokens.py [--compare]

base/ holds the JSON files of tests/cli/tiny_model.py; cases.json lists how they are changed ("set": file to keys, "remove": file to names) and what
transformers' AutoTokenizer then says: the ids, and those of "<|bos|>ab<|eos|>" with the template's tokens around. --compare writes nothing and
prints the answers of the transformers that is installed where they are others than those of cases.json.
"""

import json
import logging
import sys
import tempfile
from pathlib import Path

from transformers import AutoTokenizer

ROOT = Path(__file__).resolve().parents[2]
OUT = ROOT / "tests" / "golden" / "special_tokens"
TEXT = "<|bos|>ab<|eos|>"
sys.path.insert(0, str(ROOT / "tests" / "cli"))
from tiny_model import write_model  # noqa: E402

NAMES = {"config": "config.json", "tokenizer_config": "tokenizer_config.json", "generation_config": "generation_config.json",
         "special_tokens_map": "special_tokens_map.json", "tokenizer": "tokenizer.json"}


def template(before: list[str], after: list[str], ids: dict[str, int]) -> dict:
    single = [*({"SpecialToken": {"id": name, "type_id": 0}} for name in before), {"Sequence": {"id": "A", "type_id": 0}},
              *({"SpecialToken": {"id": name, "type_id": 0}} for name in after)]
    return {"type": "TemplateProcessing", "single": single, "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {name: {"id": name, "ids": [ids[name]], "tokens": [name]} for name in {*before, *after}}}


IDS = {"<unk>": 0, "<filler>": 1, "<spare>": 2, "<|bos|>": 3, "<|eos|>": 4, "<|pad|>": 5}
FLAGS = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
DECODER = {str(i): {"content": content, **FLAGS} for content, i in IDS.items()}
NO_NAMES = {"tokenizer_config": ["bos_token", "eos_token", "pad_token"]}
NO_TEMPLATE = {"tokenizer": {"post_processor": None}}
# name, what is set in files, what is removed from them
CASES = [
    ["everything agrees", {}, {}],
    ["config.json with LlamaConfig's defaults", {"config": {"bos_token_id": 1, "eos_token_id": 2}}, {}],
    ["generation_config.json disagrees", {"generation_config": {"bos_token_id": 1, "eos_token_id": [1, 2], "pad_token_id": 0}}, {}],
    ["an eos list that holds the tokenizer's", {"config": {"eos_token_id": [2, 4]}, "generation_config": {"eos_token_id": [1, 2, 4]}}, {}],
    ["tokens as objects", {"tokenizer_config": {"bos_token": {"__type": "AddedToken", "content": "<filler>", **FLAGS}, "eos_token": {"__type": "AddedToken", "content": "<spare>", **FLAGS}}}, {}],
    ["special_tokens_map.json overrides tokenizer_config.json", {"special_tokens_map": {"bos_token": "<filler>", "eos_token": {"content": "<spare>", **FLAGS}}}, {}],
    ["special_tokens_map.json counts no more", {"special_tokens_map": {"bos_token": "<filler>"}, "tokenizer_config": {"added_tokens_decoder": DECODER}}, {}],
    ["special_tokens_map.json alone", {"special_tokens_map": {"bos_token": "<|bos|>", "eos_token": "<|eos|>"}}, NO_NAMES],
    ["pad is eos", {"tokenizer_config": {"pad_token": "<|eos|>"}}, {}],
    ["no pad", {}, {"tokenizer_config": ["pad_token"]}],
    ["padding names the pad", {"tokenizer": {"padding": {"strategy": "BatchLongest", "direction": "Left", "pad_to_multiple_of": None, "pad_id": 2, "pad_type_id": 0, "pad_token": "<spare>"}}},
     {"tokenizer_config": ["pad_token"]}],
    ["bos null, as Qwen", {"tokenizer_config": {"bos_token": None, "add_bos_token": False}, **NO_TEMPLATE}, {}],
    ["a template with another token", {"tokenizer": {"post_processor": template(["<filler>"], [], IDS)}}, {}],
    ["a template with BOS and EOS", {"tokenizer": {"post_processor": template(["<|bos|>"], ["<|eos|>"], IDS)}}, {}],
    ["no template, add_bos_token", {"tokenizer_config": {"add_bos_token": True}, **NO_TEMPLATE}, {}],
    ["a template, add_bos_token false", {"tokenizer_config": {"add_bos_token": False}}, {}],
    ["GPT-NeoX's class without template", {"tokenizer_config": {"tokenizer_class": "GPTNeoXTokenizer"}, **NO_TEMPLATE}, {}],
]


def answer(changes: dict, removed: dict) -> dict:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_model(folder, [])
        for file in {*changes, *removed}:
            path = folder / NAMES[file]
            value = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
            value.update(changes.get(file, {}))
            for key in removed.get(file, []):
                value.pop(key)
            path.write_text(json.dumps(value), encoding="utf-8")
        tokenizer = AutoTokenizer.from_pretrained(folder)
        return {"bos": tokenizer.bos_token_id, "eos": tokenizer.eos_token_id, "pad": tokenizer.pad_token_id,
                "ids": tokenizer(TEXT)["input_ids"], "plain_ids": tokenizer(TEXT, add_special_tokens=False)["input_ids"]}


def main() -> None:
    logging.disable(logging.WARNING)
    cases = [{"name": name, "set": changes, "remove": removed, **answer(changes, removed)} for name, changes, removed in CASES]
    if "--compare" in sys.argv:
        for case, stored in zip(cases, json.loads((OUT / "cases.json").read_text(encoding="utf-8"))):
            for key in ("bos", "eos", "pad", "ids", "plain_ids"):
                if case[key] != stored[key]:
                    print(f"{case['name']}: {key}: here {case[key]}, stored {stored[key]}")
        return
    write_model(OUT / "base", [])
    (OUT / "base" / "model.safetensors").unlink()
    text = "[\n" + ",\n".join(json.dumps(case, ensure_ascii=False) for case in cases) + "\n]\n"
    (OUT / "cases.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
