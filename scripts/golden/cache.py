#!/usr/bin/env python3
"""Writes tests/golden/cache_v1* and cache_v2*: small activation caches of formats 1 and 2 (docs/formats.md), made
without lorsa.

Needs numpy, safetensors, h5py and xxhash (scripts/golden/requirements.txt).
"""

import json
import math
import pathlib

import h5py
import numpy
import xxhash
from safetensors.numpy import save_file

GOLDEN = pathlib.Path(__file__).resolve().parents[2] / "tests" / "golden"
D, T, HEADS, KV_HEADS, WIDTH, BASE = 6, 4, 2, 1, 4, 100.0
ROWS_PER_SHARD = 2
DOCUMENT = numpy.array([10, 3, 2**40], dtype="<i8")
HELDOUT = numpy.array([0, 1, 0], dtype="u1")
TOKENS = numpy.array([[0, 5, 6, 7], [0, 8, 9, 1], [0, 0, 300, 70000]], dtype="<i4")
UNSCORED = [0, 1]


def to_bfloat16_bits(values: numpy.ndarray) -> numpy.ndarray:
    """Rounds to nearest, ties to even."""
    bits = values.astype("<f4").view("<u4").astype(numpy.uint64)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2")


def from_bfloat16_bits(bits: numpy.ndarray) -> numpy.ndarray:
    return (bits.astype("<u4") << 16).view("<f4")


def rope(x: numpy.ndarray) -> numpy.ndarray:
    """x [T, WIDTH], half-split layout over the whole width."""
    half = WIDTH // 2
    angle = numpy.arange(T)[:, None] * BASE ** (-numpy.arange(half) / half)
    cos, sin = numpy.cos(angle), numpy.sin(angle)
    first, second = x[:, :half], x[:, half:]
    return numpy.concatenate([first * cos - second * sin, second * cos + first * sin], axis=1)


def attention(weights: dict, x: numpy.ndarray) -> numpy.ndarray:
    """Causal attention of one row x [T, D] in double."""
    y = numpy.tile(weights["b_O"].astype("f8"), (T, 1))
    for head in range(HEADS):
        shared = head // (HEADS // KV_HEADS)
        q = rope(x @ weights["W_Q"][head] + weights["b_Q"][head])
        k = rope(x @ weights["W_K"][shared] + weights["b_K"][shared])
        v = x @ weights["W_V"][shared] + weights["b_V"][shared]
        scores = q @ k.T / math.sqrt(WIDTH)
        scores[numpy.triu_indices(T, 1)] = -numpy.inf
        pattern = numpy.exp(scores - scores.max(axis=1, keepdims=True))
        pattern /= pattern.sum(axis=1, keepdims=True)
        y += pattern @ v @ weights["W_O"][head]
    return y


def bfloat16_type() -> h5py.h5t.TypeID:
    kind = h5py.h5t.IEEE_F32LE.copy()
    kind.set_fields(15, 7, 8, 0, 7)
    kind.set_size(2)
    kind.set_ebias(127)
    return kind


def write_dataset(file: h5py.File, name: str, kind: h5py.h5t.TypeID, values: numpy.ndarray) -> int:
    """Creates an empty contiguous dataset; returns its offset. The bytes are written afterwards, unconverted."""
    plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plist.set_layout(h5py.h5d.CONTIGUOUS)
    plist.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    space = h5py.h5s.create_simple(values.shape)
    return h5py.h5d.create(file.id, name.encode(), kind, space, plist).get_offset()


def write_shard(path: pathlib.Path, columns: dict, schema: int) -> str:
    """Writes the file and returns its digest: of all bytes in format 1, of those outside the rows in format 2."""
    offsets = {}
    with h5py.File(path, "w") as file:
        file.attrs.create("complete", 1, dtype="<i4")
        for name, values in columns.items():
            kind = bfloat16_type() if values.dtype == "<u2" else h5py.h5t.py_create(values.dtype)
            offsets[name] = write_dataset(file, name, kind, values)
    with open(path, "r+b") as file:
        for name, values in columns.items():
            file.seek(offsets[name])
            file.write(values.tobytes())
    content = path.read_bytes()
    if schema == 2:
        outside = numpy.ones(len(content), dtype=bool)
        for name, values in columns.items():
            if name != "checksum":
                outside[offsets[name] : offsets[name] + values.nbytes] = False
        content = numpy.frombuffer(content, dtype="u1")[outside].tobytes()
    return "xxh3:" + xxhash.xxh3_64_hexdigest(content)


def to_int8(values: numpy.ndarray) -> tuple[numpy.ndarray, numpy.ndarray]:
    """values [n, T, D] float32 -> int8 values and the float32 scale [n, T] of every position."""
    scale = (numpy.abs(values).max(axis=2) / numpy.float32(127)).astype("<f4")
    return numpy.rint(values / scale[..., None]).astype("i1"), scale


def store_activation(values: numpy.ndarray, dtype: str) -> tuple[dict, numpy.ndarray]:
    """What is stored of float values ("" the values, "_scale" their scales) and the float32 values that readers see."""
    if dtype == "bfloat16":
        bits = to_bfloat16_bits(values)
        return {"": bits}, from_bfloat16_bits(bits)
    if dtype == "int8":
        stored, scale = to_int8(values.astype("<f4"))
        return {"": stored, "_scale": scale}, stored.astype("<f4") * scale[..., None]
    return {"": values.astype("<f4")}, values.astype("<f4")


def row_checksums(columns: dict, row: int, schema: int) -> list[int]:
    def digest(names: list[str]) -> int:
        return xxhash.xxh3_64_intdigest(b"".join(columns[name][row].tobytes() for name in names if name in columns))

    sums = [digest(["input", "input_scale"]), digest(["target", "target_scale"]) if "target" in columns else 0]
    return sums if schema == 1 else [*sums, digest(["tokens", "scored", "document", "heldout"])]


def manifest_text(manifest: dict, schema: int) -> str:
    if schema == 1:
        return json.dumps(manifest, indent=1) + "\n"
    zeros = "xxh3:" + "0" * 16
    text = json.dumps({**manifest, "file_checksum": zeros}, indent=2) + "\n"
    return text.replace(zeros, "xxh3:" + xxhash.xxh3_64_hexdigest(text.encode()))


def write_cache(name: str, schema: int, dtype: str, store: str) -> None:
    folder = GOLDEN / name
    folder.mkdir(parents=True, exist_ok=True)
    random = numpy.random.default_rng(7)
    shapes = {
        "W_Q": (HEADS, D, WIDTH), "W_K": (KV_HEADS, D, WIDTH), "W_V": (KV_HEADS, D, WIDTH), "W_O": (HEADS, WIDTH, D),
        "b_Q": (HEADS, WIDTH), "b_K": (KV_HEADS, WIDTH), "b_V": (KV_HEADS, WIDTH), "b_O": (D,),
    }
    weights = {key: random.standard_normal(shape).astype("<f4") for key, shape in shapes.items()}
    save_file(weights, folder / "attention.safetensors")

    inputs, seen = store_activation(random.standard_normal((len(TOKENS), T, D)), dtype)
    exact = numpy.stack([attention(weights, row.astype("f8")) for row in seen])
    targets, seen_targets = store_activation(exact, dtype)
    scored = (~numpy.isin(TOKENS, UNSCORED)).astype("u1")

    shards = []
    for first in range(0, len(TOKENS), ROWS_PER_SHARD):
        rows = slice(first, first + ROWS_PER_SHARD)
        columns = {"input" + part: values[rows] for part, values in inputs.items()}
        if store == "input_and_target":
            columns |= {"target" + part: values[rows] for part, values in targets.items()}
        columns |= {
            "tokens": TOKENS[rows], "scored": scored[rows], "document": DOCUMENT[rows], "heldout": HELDOUT[rows],
        }
        num_rows = len(columns["tokens"])
        sums = [row_checksums(columns, row, schema) for row in range(num_rows)]
        columns["checksum"] = numpy.array(sums, dtype="<u8")
        file = f"shard-{len(shards):05d}.h5"
        digest = write_shard(folder / file, columns, schema)
        shards.append({"file": file, "num_rows": num_rows, "checksum": digest})

    # Over scored tokens of training rows; the values as readers see them.
    chosen = (scored == 1) & (HELDOUT == 0)[:, None]
    x = seen[chosen].astype("f8")
    t = seen_targets[chosen].astype("f8")

    def stats(values: numpy.ndarray) -> dict:
        squares = (values**2).sum(axis=1)
        return {"mean_norm": float(numpy.sqrt(squares).mean()), "second_moment": float(squares.mean())}

    manifest = {
        "format": "lorsa activation cache",
        "schema": schema,
        "model": {"name": "golden", "architecture": "LlamaForCausalLM", "weights_sha256": "0" * 64},
        "layer": 3,
        "input_convention": "rms_normalized",
        "store": store,
        "dtype": dtype,
        "context_length": T,
        "d_model": D,
        "rows_per_shard": ROWS_PER_SHARD,
        "tokens": {"packing": "pack", "prepend_bos": True, "unscored_ids": UNSCORED},
        "corpus": ["corpus.jsonl xxh3:" + "1" * 16],
        "config": "layers: [3]\n",
        "attention": {
            "file": "attention.safetensors",
            "checksum": "xxh3:" + xxhash.xxh3_64_hexdigest((folder / "attention.safetensors").read_bytes()),
            "attn_scale": math.sqrt(WIDTH),
            "qk_norm_eps": 1e-6,
            "rope": {"rotary_dim": WIDTH, "base": BASE, "layout": "half_split", "scaling": "none"},
        },
        "num_rows": len(TOKENS),
        "num_heldout_rows": int(HELDOUT.sum()),
        "num_tokens": TOKENS.size,
        "num_scored_tokens": int(scored.sum()),
        "statistics": {
            "num_tokens": int(chosen.sum()), "input": stats(x), "target": stats(t),
            "target_mean": t.mean(axis=0).tolist(),
        },
        "shards": shards,
        "complete": True,
    }
    (folder / "manifest.json").write_text(manifest_text(manifest, schema))
    expected = {
        "input": seen.astype("f8").flatten().tolist(),
        "target": exact.flatten().tolist(),
        "tokens": TOKENS.flatten().tolist(),
        "scored": scored.flatten().tolist(),
        "document": DOCUMENT.tolist(),
        "heldout": HELDOUT.tolist(),
    }
    (GOLDEN / f"{name}.json").write_text(json.dumps(expected) + "\n")


if __name__ == "__main__":
    write_cache("cache_v1", 1, dtype="bfloat16", store="input_and_target")
    write_cache("cache_v1_input", 1, dtype="float32", store="input")
    write_cache("cache_v2", 2, dtype="bfloat16", store="input_and_target")
    write_cache("cache_v2_int8", 2, dtype="int8", store="input_and_target")
