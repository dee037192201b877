#!/usr/bin/env python3
"""Recomputes a toy's truth.json from corpus.npy and the words of tokenizer.json by brute force, and compares.

Knows the rules as docs/formats.md states them and the tokens' words, nothing of the generator:
toy_truth.py FOLDER. Ends with 1 and the first difference if they disagree.
"""

import json
import re
import struct
import sys
from pathlib import Path


def read_npy(path):
    data = path.read_bytes()
    assert data[:6] == b"\x93NUMPY"
    length = struct.unpack("<H", data[8:10])[0]
    header = data[10:10 + length].decode()
    assert "'<i4'" in header and "'fortran_order': False" in header
    rows, columns = map(int, re.search(r"'shape': \((\d+), (\d+)\)", header).groups())
    values = struct.unpack(f"<{rows * columns}i", data[10 + length:])
    return [list(values[i * columns:(i + 1) * columns]) for i in range(rows)]


def superposition(words, rules):
    at = len(words) - 1
    destination = words[at]
    found = []
    for number, rule in enumerate(rules):
        source, wanted, _, _ = re.fullmatch(r"(s\d+) (d\d+) (->) (o\d+)", rule).groups()
        if wanted == destination:
            places = [p for p, word in enumerate(words) if word == source]
            if places:
                found.append([number, at, places])
    return [at], found


def induction(words, rules):
    """A token that has stood before, whose follower there is the follower here."""
    found = []
    for at in range(1, len(words) - 1):
        for before in range(1, at):
            if words[before] == words[at] and words[before + 1] == words[at + 1]:
                found.append([0, at, [before + 1]])
    return list(range(1, len(words))), found


def successor(words, rules):
    at = len(words) - 1
    scale = words[at].removesuffix("next")
    number = rules.index(f"successor on scale {scale}")
    places = [p for p, word in enumerate(words) if re.fullmatch(rf"{scale}\d+", word)]
    return [at], [[number, at, places]]


def arithmetic(words, rules):
    at = len(words) - 1
    assert words[at] == "="
    operator = words[at - 2]
    return [at], [[rules.index(f"a {operator} b"), at, [at - 3, at - 2, at - 1]]]


def copy(words, rules):
    found = []
    for at, word in enumerate(words):
        marker = re.fullmatch(r"back(\d+)", word)
        if marker:
            distance = int(marker[1])
            found.append([rules.index(f"copy from {distance} before"), at, [at - distance]])
    return list(range(1, len(words))), found


TASKS = {"superposition": superposition, "induction": induction, "successor": successor,
         "arithmetic": arithmetic, "copy": copy}


def main():
    folder = Path(sys.argv[1])
    kind = re.search(r"^\s*kind: (\w+)", (folder / "toy.yaml").read_text(), re.MULTILINE)[1]
    vocabulary = json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"]
    word_of = {number: word.removeprefix("\u0120") for word, number in vocabulary.items()}
    truth = json.loads((folder / "truth.json").read_text())
    corpus = read_npy(folder / "corpus.npy")
    assert truth["num_documents"] == len(corpus) and truth["rows"], "no held-out rows"
    applications = 0
    for row in truth["rows"]:
        words = ["<bos>"] + [word_of[token] for token in corpus[row["document"]]]
        assert len(words) == truth["context_length"]
        candidates, found = TASKS[kind](words, truth["rules"])
        if row["candidates"] != candidates or row["applications"] != found:
            sys.exit(f"document {row['document']}: {' '.join(words)}\n  brute force: {candidates} {found}\n"
                     f"  truth.json:  {row['candidates']} {row['applications']}")
        applications += len(found)
    share = len(truth["rows"]) / len(corpus)
    print(f"{kind}: {len(truth['rows'])} rows ({share:.3f}), {applications} applications agree")
    if applications == 0:
        sys.exit("no rule applies anywhere: nothing was compared")


if __name__ == "__main__":
    main()
