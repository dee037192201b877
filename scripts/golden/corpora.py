"""Writes tests/golden/corpora/: packed text and token files by Python's gzip, the zstandard package and numpy, and what they hold.

    python scripts/golden/corpora.py

expected.json: for each file, the documents in order, as text or as ids (flat files separated at id 2).
"""

import gzip
import json
from pathlib import Path

import numpy as np
import zstandard

OUT = Path(__file__).resolve().parents[2] / "tests" / "golden" / "corpora"
SEPARATOR = 2


def documents(ids: np.ndarray) -> list[list[int]]:
    if ids.ndim == 2:
        return ids.tolist()
    found: list[list[int]] = [[]]
    for token in ids.tolist():
        if token == SEPARATOR:
            found.append([])
        else:
            found[-1].append(token)
    return found[:-1] if not found[-1] else found


def main() -> None:
    OUT.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    texts = [f"document {i}: " + "".join(rng.choice(list("abc xyz\n\u00e9\u4f60"), 40)) for i in range(60)]
    lines = [json.dumps({"text": text}, ensure_ascii=i % 2 == 0).encode() + b"\n" for i, text in enumerate(texts)]
    half = b"".join(lines[:31])[:-10], b"".join(lines[:31])[-10:] + b"".join(lines[31:])  # cut within a line
    expected: dict[str, list] = {}

    packed = {"members.jsonl.gz": b"".join(gzip.compress(part, mtime=0) for part in half),
              "frames.jsonl.zst": b"".join(zstandard.ZstdCompressor(level=19, write_checksum=True).compress(part) for part in half)}
    for name, content in packed.items():
        (OUT / name).write_bytes(content)
        expected[name] = texts
    text = "\n".join(texts)
    (OUT / "whole.txt.gz").write_bytes(gzip.compress(text.encode(), mtime=0))
    expected["whole.txt.gz"] = [text]

    flat = np.where(rng.random(500) < 0.05, SEPARATOR, rng.integers(3, 60000, 500))
    flat[10:12] = SEPARATOR  # an empty document
    arrays = {"flat_u2.npy": flat.astype("<u2"), "flat_i8.npy": flat[:77].astype("<i8"), "rows_i4.npy": rng.integers(0, 99999, (7, 12)).astype("<i4"),
              "rows_u4.npy": rng.integers(0, 99999, (3, 5)).astype("<u4")}
    for name, array in arrays.items():
        np.save(OUT / name, array)
        expected[name] = documents(array)
    with open(OUT / "version2.npy", "wb") as file:
        np.lib.format.write_array(file, arrays["flat_i8.npy"], version=(2, 0))
    expected["version2.npy"] = expected["flat_i8.npy"]
    for name, dtype in (("flat_uint16.bin", "<u2"), ("flat_uint32.bin", "<u4"), ("flat_int32.bin", "<i4"), ("flat_int64.bin", "<i8")):
        flat.astype(dtype).tofile(OUT / name)
        expected[name] = documents(flat)
    (OUT / "expected.json").write_text("{\n" + ",\n".join(f"{json.dumps(key)}: {json.dumps(value)}" for key, value in expected.items()) + "\n}\n")


if __name__ == "__main__":
    main()
