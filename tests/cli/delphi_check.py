#!/usr/bin/env python3
"""Reads an export in delphi's layout by its description (docs/formats.md) and compares it with the dump made with it.

usage: delphi_check.py DUMP LATENTS

Where the package delphi is installed its own reader must give the same.
"""

import collections
import json
import pathlib
import struct
import sys

WIDTH = {"U16": "H", "U32": "I", "I32": "i", "F16": "e"}


def tensors(path):
    """Name to (shape, flat values) of a safetensors file."""
    data = path.read_bytes()
    (size,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + size])
    found = {}
    for name, entry in header.items():
        begin, end = (8 + size + offset for offset in entry["data_offsets"])
        kind = WIDTH[entry["dtype"]]
        count = (end - begin) // struct.calcsize(kind)
        found[name] = (entry["shape"], struct.unpack(f"<{count}{kind}", data[begin:end]))
    return found


def read_export(module):
    """Head to {(row, position): activation}, number of splits."""
    by_head = collections.defaultdict(dict)
    splits = sorted(module.glob("*.safetensors"), key=lambda path: int(path.stem.split("_")[0]))
    next_head = 0
    for path in splits:
        first, last = map(int, path.stem.split("_"))
        assert first == next_head, f"{path}: begins at {first}, expected {next_head}"
        next_head = last + 1
        split = tensors(path)
        (count, three), locations = split["locations"]
        _, activations = split["activations"]
        (rows, length), tokens = split["tokens"]
        assert three == 3 and count == len(activations) and len(tokens) == rows * length
        for i, activation in enumerate(activations):
            row, position, head = locations[3 * i : 3 * i + 3]
            assert row < rows and position < length and head <= last - first
            by_head[first + head][row, position] = activation
    return by_head, len(splits)


def check_against_dump(by_head, dump):
    for path in sorted(dump.glob("heads-*.jsonl")):
        for line in path.read_text().splitlines():
            record = json.loads(line)
            found = by_head.get(record["head"], {})
            assert len(found) == record["count"], f"head {record['head']}: {len(found)} activations, not {record['count']}"
            for context in record["contexts"]:
                value = found.get((context["row"], context["position"]), 0.0)
                assert abs(value - context["value"]) <= 1e-3 * abs(context["value"]) + 1e-6, (record["head"], context["row"])


def check_with_delphi(module, by_head):
    try:
        from delphi.latents.loader import TensorBuffer
    except ImportError:
        return
    count = 0
    for path in module.glob("*.safetensors"):
        for latent in TensorBuffer(str(path), module.name):
            data = latent.activation_data
            read = {(int(row), int(position)): float(a) for (row, position, _), a in zip(data.locations, data.activations)}
            assert read == by_head[latent.latent.latent_index]
            count += len(read)
    assert count == sum(map(len, by_head.values()))
    print("delphi's own reader gives the same")


def main():
    dump, latents = map(pathlib.Path, sys.argv[1:])
    (module,) = latents.iterdir()
    config = json.loads((module / "config.json").read_text())
    by_head, num_splits = read_export(module)
    assert num_splits == config["n_splits"]
    check_against_dump(by_head, dump)
    check_with_delphi(module, by_head)
    print(f"{sum(map(len, by_head.values()))} activations in {num_splits} splits: as in the dump")


main()
