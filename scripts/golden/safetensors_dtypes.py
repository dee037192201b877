"""Writes what the reference implementation of safetensors says of dtypes.

    python scripts/golden/safetensors_dtypes.py

tests/golden/io/dtype_bits.json: the bits of an element of every dtype that it knows, by trying which size it accepts.
tests/golden/io/unread_dtypes.safetensors: tensors of dtypes that lorsa does not read, and one that it does ("weight", 0 to 5 in float32).
"""

import json
import re
import struct
from pathlib import Path

import safetensors
import safetensors.torch
import torch

OUT = Path(__file__).resolve().parents[2] / "tests" / "golden" / "io"


def accepts(dtype: str, elements: int, size: int) -> bool:
    header = json.dumps({"x": {"dtype": dtype, "shape": [elements], "data_offsets": [0, size]}}).encode()
    try:
        safetensors.deserialize(struct.pack("<Q", len(header)) + header + bytes(size))
    except safetensors.SafetensorError as error:
        if "unknown variant" in str(error):
            raise
        return False
    return True


def names() -> list[str]:
    try:
        accepts("?", 1, 1)
    except safetensors.SafetensorError as error:
        return re.findall(r"`(\w+)`", str(error).split("expected one of")[1])
    raise RuntimeError("a dtype without a name was accepted")


def main() -> None:
    bits = {name: next(size for size in range(1, 129) if accepts(name, 8, size)) for name in names()}
    (OUT / "dtype_bits.json").write_text(json.dumps(bits, indent=2) + "\n")
    values = torch.arange(6, dtype=torch.float32)
    tensors = {"weight": values.reshape(2, 3)}
    for dtype in (torch.float8_e4m3fn, torch.float8_e5m2, torch.uint16, torch.uint32, torch.uint64, torch.complex64):
        tensors[str(dtype).removeprefix("torch.")] = values.to(dtype)
    safetensors.torch.save_file(tensors, OUT / "unread_dtypes.safetensors")
    print(f"{len(bits)} dtypes")


if __name__ == "__main__":
    main()
