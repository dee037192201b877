#!/usr/bin/env python3
"""Writes a tiny model, a corpus and the rows, inputs and targets that an extraction of them must give.

usage: scripts/golden/collect.py       (needs scripts/golden/requirements.txt)

tests/golden/collect/model/            a random Llama model with a byte-level BPE tokenizer of its own
tests/golden/collect/corpus.jsonl      70 short documents
tests/golden/collect/rows.safetensors  tokens, scored, heldout and document of every row (pack, context 16, BOS, a fifth
                                       held out); input and target of layers 0 and 2
                                       for the first 12 rows

Everything is computed by transformers, tokenizers and xxhash; the packing is written down here a second time.
"""
import json
import pathlib
import random

import tokenizers
import torch
import transformers
import xxhash
from safetensors.torch import save_file
from tokenizers import decoders, models, pre_tokenizers, trainers

OUT = pathlib.Path(__file__).resolve().parents[2] / "tests" / "golden" / "collect"
CONTEXT, HOLDOUT, LAYERS = 16, 0.2, (0, 2)
BOS = EOS = 0
NUM_GOLDEN = 12  # rows with activations


def write_corpus():
    words = "the river ran under an old bridge while 42 birds sang é über 東京 naïve 🙂 again and again".split()
    generator = random.Random(7)
    texts = [" ".join(generator.choices(words, k=generator.randint(1, 24))) + generator.choice([".", "\n", "!"])
             for _ in range(70)]
    lines = [json.dumps({"text": text}, ensure_ascii=i % 2 == 0) for i, text in enumerate(texts)]
    (OUT / "corpus.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return texts


def write_model(texts):
    folder = OUT / "model"
    tokenizer = tokenizers.Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(texts, trainers.BpeTrainer(
        vocab_size=320, special_tokens=["<|endoftext|>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False))
    torch.manual_seed(11)
    config = transformers.LlamaConfig(
        vocab_size=tokenizer.get_vocab_size(), hidden_size=24, intermediate_size=40, num_hidden_layers=3,
        num_attention_heads=6, num_key_value_heads=2, head_dim=8, max_position_embeddings=64, initializer_range=0.3,
        tie_word_embeddings=True, bos_token_id=BOS, eos_token_id=EOS)
    model = transformers.LlamaForCausalLM(config).eval()
    for key, value in model.named_parameters():  # transformers starts gains at 1
        if "norm" in key:
            value.data.uniform_(0.5, 1.5)
    model.save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps(
        {"bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>"}, indent=2) + "\n")
    return tokenizer, model


def pack(texts, tokenizer):
    """(tokens, first document, heldout) of every row, in the order in which documents complete them."""
    rows, streams = [], {False: [], True: []}
    for index, text in enumerate(texts):
        heldout = xxhash.xxh3_64_intdigest(text.encode()) / 2**64 < HOLDOUT
        stream = streams[heldout]
        if stream:
            stream.append((EOS, index))
        if len(stream) == CONTEXT - 1:  # the separator filled the row
            rows.append(([BOS] + [token for token, _ in stream], stream[0][1], heldout))
            stream.clear()
        for token in tokenizer.encode(text).ids:
            stream.append((token, index))
            if len(stream) == CONTEXT - 1:
                rows.append(([BOS] + [token for token, _ in stream], stream[0][1], heldout))
                stream.clear()
    return rows


@torch.no_grad()
def activations(model, tokens):
    found = {}
    for layer in LAYERS:
        block = model.model.layers[layer]

        def take_input(_, args, layer=layer, eps=block.input_layernorm.variance_epsilon):
            x = args[0].double()
            found[f"input.{layer}"] = (x * torch.rsqrt(x.square().mean(-1, keepdim=True) + eps)).float().contiguous()

        def take_target(_, args, output, layer=layer):
            found[f"target.{layer}"] = output[0].clone()

        block.input_layernorm.register_forward_pre_hook(take_input)
        block.self_attn.register_forward_hook(take_target)
    model(tokens, use_cache=False)
    return found


def main():
    (OUT / "model").mkdir(parents=True, exist_ok=True)
    texts = write_corpus()
    tokenizer, model = write_model(texts)
    rows = pack(texts, tokenizer)
    tokens = torch.tensor([row[0] for row in rows], dtype=torch.int32)
    save_file({"tokens": tokens,
               "scored": (tokens != BOS).to(torch.uint8),
               "document": torch.tensor([row[1] for row in rows]),
               "heldout": torch.tensor([row[2] for row in rows], dtype=torch.uint8),
               **activations(model, tokens[:NUM_GOLDEN].long())},
              OUT / "rows.safetensors", {"transformers": transformers.__version__})
    print(f"{len(rows)} rows, {sum(row[2] for row in rows)} of them held out")


if __name__ == "__main__":
    main()
