#!/usr/bin/env python3
"""Writes tests/golden/io: files of the safetensors and h5py packages that the io tests read.

Needs torch, safetensors and h5py (scripts/golden/requirements.txt).
"""

import json
import pathlib

import h5py
import numpy
import torch
from safetensors.torch import save_file

FOLDER = pathlib.Path(__file__).resolve().parents[2] / "tests" / "golden" / "io"

# The names that C++ gives the dtypes.
DTYPES = {
    "Double": torch.float64,
    "Float": torch.float32,
    "Half": torch.float16,
    "BFloat16": torch.bfloat16,
    "Long": torch.int64,
    "Int": torch.int32,
    "Short": torch.int16,
    "Char": torch.int8,
    "Byte": torch.uint8,
    "Bool": torch.bool,
}


def all_dtypes() -> None:
    tensors, described = {}, {}
    for index, (name, dtype) in enumerate(DTYPES.items()):
        values = torch.arange(6).reshape(2, 3) * 37 + index
        if dtype.is_floating_point:
            values = (values.double() - 90) / 64
        elif dtype == torch.bool:
            values = values % 2
        key = f"block.{index}.{name.lower()}"
        tensors[key] = values.to(dtype)
        described[key] = {"dtype": name}
    tensors["scalar"] = torch.tensor(-1.5)
    described["scalar"] = {"dtype": "Float"}
    tensors["no rows"] = torch.zeros(0, 4)
    described["no rows"] = {"dtype": "Float"}
    for key, tensor in tensors.items():
        described[key]["shape"] = list(tensor.shape)
        described[key]["values"] = tensor.double().flatten().tolist()
    save_file(tensors, FOLDER / "all_dtypes.safetensors", metadata={"format": "pt", "k": "v"})
    (FOLDER / "all_dtypes.json").write_text(json.dumps({"tensors": described}, indent=1) + "\n")


def two_tensors() -> None:
    tensors = {
        "bias": torch.arange(3, dtype=torch.float32),
        "weight": torch.arange(6, dtype=torch.float32).reshape(2, 3) / 4,
    }
    save_file(tensors, FOLDER / "two_tensors.safetensors")


def foreign(name: str, marked: bool) -> None:
    """An HDF5 file that is no shard; marked, it pretends to be one."""
    with h5py.File(FOLDER / name, "w") as file:
        if marked:
            file.attrs.create("complete", 1, dtype="<i4")
        file.create_dataset("chunked", data=numpy.arange(8, dtype="<f4"), chunks=(4,))
        file["ieee_half"] = numpy.arange(8, dtype="<f2")
        file["big_endian"] = numpy.arange(8, dtype=">i4")
        file["text"] = numpy.array([b"ab"] * 8)
        file.create_group("group")


if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    all_dtypes()
    two_tensors()
    foreign("foreign.h5", marked=False)
    foreign("foreign_marked.h5", marked=True)
