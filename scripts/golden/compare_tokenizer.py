"""Compares lorsa's ids with those of the `tokenizers` package on 20,000 random and multilingual strings.

    python scripts/golden/compare_tokenizer.py TEST_LM FOLDER... [--count N] [--seed S] [--long]

TEST_LM is the test binary (build/bin/test_lm): its hidden case [compare] encodes the strings. FOLDERs hold a tokenizer.json. --long adds
single-class runs of 2 MB and prints both programs' times, and lorsa's for 1 and 4 MB. Exit code 1 if any id differs or 4 MB take more than 8 times
as long as 1 MB (4 is linear, with 1 MB still in the cache somewhat more; 16 is quadratic).
"""

import argparse
import json
import os
import pydoc_data.topics
import random
import subprocess
import sys
import tempfile
import time
import unicodedata
from pathlib import Path

from tokenizers import Tokenizer

WORDS = """the of and import return self def class lambda naïve Straße München façade Привет мир Ελλάδα κόσμε שלום עולם مرحبا العالم नमस्ते
दुनिया สวัสดี 你好世界 今天天气 こんにちは カタカナ 안녕하세요 Xin chào thế giới Türkçe ığüşöç Łódź don't I'M we'LL they've 'tis it’s 3.14 1e-10
0xFF 2024-05-06 ½ Ⅷ ٤٢ ४२ <|endoftext|> <|im_start|> <|begin_of_text|> <|eot_id|> <|endof <file_sep> 👩‍👩‍👧‍👦 👍🏽 🇩🇪 ❤️ 🏳️‍🌈 ¯\\_(ツ)_/¯ => != && // /* */ <!-- -->""".split()
SPACES = [" ", "  ", "   ", "\n", "\n\n", "\r\n", "\t", " \n ", "\u00a0", "\u3000", "\u2009", "\u180e", "\u200b", "\u0085", "\u2028", "\x0b", "\x0c", "\x1c", "\ufeff", ""]
BLOCKS = [(0x20, 0x7E)] * 4 + [(0, 0x1F), (0xA0, 0x24F), (0x250, 0x36F), (0x370, 0x58F), (0x590, 0x8FF), (0x900, 0xDFF), (0xE00, 0x11FF), (0x1680, 0x1CFF), (0x2000, 0x2BFF),
                              (0x3000, 0x30FF), (0x4E00, 0x9FFF), (0xA000, 0xABFF), (0xAC00, 0xD7A3), (0xF900, 0xFFFF), (0x10000, 0x1FFFF), (0x20000, 0x323AF), (0xE0000, 0x10FFFF)]


def random_string(rng: random.Random, prose: list[str]) -> str:
    kind = rng.randrange(6)
    if kind == 0:  # prose and code, cut anywhere
        text = rng.choice(prose)
        start = rng.randrange(len(text))
        return text[start : start + rng.randint(1, 300)]
    if kind == 1:  # words of many languages
        return "".join(rng.choice(WORDS) + rng.choice(SPACES) for _ in range(rng.randint(1, 20)))
    if kind == 2:  # any characters
        return "".join(any_character(rng) for _ in range(rng.randint(1, 40)))
    if kind == 3:  # one block
        low, high = rng.choice(BLOCKS)
        return "".join(chr(rng.randint(low, high)) for _ in range(rng.randint(1, 60)))
    if kind == 4:  # runs
        return "".join(rng.choice([any_character(rng), rng.choice(SPACES), rng.choice("a1.'\n ")]) * rng.randint(1, 70) for _ in range(rng.randint(1, 6)))
    letters = rng.choice(["abcde", "aA1 '", "sStTrRvVeElLmMdD'’", "01 ", " \n\r\t", ".,;:!? ", "ſ'sK ", "é\u0301e "])
    return "".join(rng.choices(letters, k=rng.randint(1, 200)))


def any_character(rng: random.Random) -> str:
    while True:
        low, high = rng.choice(BLOCKS)
        character = chr(rng.randint(low, high))
        if unicodedata.category(character) != "Cs":
            return character


def run_lorsa(binary: str, folder: Path, texts: list[str]) -> tuple[list[list[int]], list[float]]:
    with tempfile.TemporaryDirectory() as scratch:
        source, result = Path(scratch) / "texts.jsonl", Path(scratch) / "ids.jsonl"
        source.write_text("".join(json.dumps(text) + "\n" for text in texts))
        environment = {**os.environ, "LORSA_COMPARE_TEXTS": str(source), "LORSA_COMPARE_IDS": str(result), "LORSA_COMPARE_TOKENIZER": str(folder)}
        subprocess.run([binary, "[compare]"], env=environment, check=True, stdout=subprocess.DEVNULL)
        rows = [json.loads(line) for line in result.read_text().splitlines()]
    return [row["ids"] for row in rows], [row["seconds"] for row in rows]


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("binary")
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--count", type=int, default=20000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--long", action="store_true")
    arguments = parser.parse_args()
    rng = random.Random(arguments.seed)
    prose = [text for text in pydoc_data.topics.topics.values() if text] + [Path(random.__file__).read_text()]
    texts = [random_string(rng, prose) for _ in range(arguments.count)]
    long_texts = []
    if arguments.long:
        units = ["a", " ", "\n", "1", ".", "é", "的", "😀", "\u180e", "ab", "'s", "\u0301", "\x00", " \n", "\U00031350", "abcdefghijklmnopqrstuvwxyz"]
        units += ["\u0301\u0323", "e\u0301", "\u1100\u1161\u11a8"]
        long_texts = [unit * (2_000_000 // len(unit.encode())) for unit in units]
        scaled_texts = [unit * (size // len(unit.encode())) for unit in units for size in (1_000_000, 4_000_000)]
    failed = False
    for folder in arguments.folders:
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        found, seconds = run_lorsa(arguments.binary, folder, texts + long_texts)
        differing = 0
        for index, text in enumerate(texts + long_texts):
            start = time.perf_counter()
            expected = tokenizer.encode(text).ids
            package_seconds = time.perf_counter() - start
            if index >= len(texts):
                print(f"  {text[:26]!r} repeated to {len(text.encode())} bytes: {seconds[index]:.2f} s, package {package_seconds:.2f} s")
            if expected != found[index]:
                differing += 1
                if differing <= 5:
                    print(f"  differs: {text[:200]!r}\n    package {expected[:40]}\n    lorsa   {found[index][:40]}")
        if long_texts:
            runs = [run_lorsa(arguments.binary, folder, scaled_texts)[1] for _ in range(3)]
            seconds = [min(times) for times in zip(*runs)]
            ratios = [large / max(small, 1e-3) for small, large in zip(seconds[::2], seconds[1::2])]
            print(f"  4 MB against 1 MB: {min(ratios):.1f} to {max(ratios):.1f} times as long, at most {max(seconds[1::2]):.2f} s")
            failed = failed or max(ratios) > 8
        print(f"{folder}: {differing} of {len(texts) + len(long_texts)} strings differ (seed {arguments.seed})")
        failed = failed or differing > 0
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
