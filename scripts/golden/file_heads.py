"""Writes tests/golden/core/file_heads.json: how files begin that people have in the place of the one that was meant.

    python scripts/golden/file_heads.py

Each is written by what writes such files: torch, safetensors, gguf, h5py, numpy, pyarrow, lz4, zstandard and Python's own packers. Texts of
servers, Git LFS and git-annex are as they came or as their specifications show them. An entry has `content` (a name of the enumeration
Content), `size` of the file and `head`, its first bytes in hex.
"""

import bz2
import gzip
import io
import json
import lzma
import pickle
import sqlite3
import tarfile
import tempfile
import zipfile
from pathlib import Path

import gguf
import h5py
import lz4.frame
import numpy as np
import pyarrow
import pyarrow.parquet
import safetensors.torch
import torch
import zstandard

OUT = Path(__file__).resolve().parents[2] / "tests" / "golden" / "core" / "file_heads.json"
HEAD = 400

TEXTS = {
    "empty": ("kEmpty", b""),
    "zeros": ("kZeros", bytes(5000)),
    "git-lfs": ("kGitLfsPointer", b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n"),
    "git-lfs-hawser": ("kGitLfsPointer", b"version https://hawser.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n"),
    "git-annex": ("kGitAnnexPointer", b"/annex/objects/SHA256E-s31390--f50d7ac4c6b9031379986bc362fcefb65f1e52621ce1708d537e740fefc59cc0.mp3\n"),
    "page": ("kWebPage", b"<!DOCTYPE html>\n<html class=\"\"><head><meta charset=\"utf-8\" />\n<title>Access to gated model</title></head><body>no</body></html>\n"),
    "page-blank-first": ("kWebPage", b"\n\n  <HTML>\r\n<HEAD><TITLE>302 Moved</TITLE></HEAD>"),
    "page-nginx": ("kWebPage", b"<html>\r\n<head><title>404 Not Found</title></head>\r\n<body>\r\n<center><h1>404 Not Found</h1></center>\r\n"),
    "s3": ("kXml", b"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"),
    "hub": ("kServerAnswer", b'{"error":"Access to model meta-llama/Llama-3.1-8B is restricted. You must have access to it and be authenticated to access it. Please log in."}'),
    "github": ("kServerAnswer", b'{\r\n  "message": "Not Found",\r\n  "documentation_url": "https://docs.github.com/rest",\r\n  "status": "404"\r\n}'),
    "hub-missing": ("kText", b"Entry not found"),
    "raw-missing": ("kText", b"404: Not Found"),
    "config": ("kJson", b'{\n  "architectures": ["LlamaForCausalLM"]\n}\n'),
    "config-with-mark": ("kJson", b'\xef\xbb\xbf{"architectures": ["LlamaForCausalLM"]}'),
    "lines": ("kJson", b'{"text": "a"}\n{"text": "b"}\n'),
    "long-message": ("kJson", b'{"message": "a"}\n' * 500),
    "prose": ("kText", "Schöne Grüße, 你好\n".encode() * 3),
    "prose-named-like-marks": ("kText", b"PAR1 and GGUF and PK are words, 1AY&SY too"),
    "powershell": ("kUtf16", '{"text": "a"}\r\n'.encode("utf-16")),
    "utf-16-be": ("kUtf16", b"\xfe\xff" + "text".encode("utf-16-be")),
    "ids": ("kUnknown", np.arange(1, 600, dtype="<u2").tobytes()),
}


def written() -> dict[str, tuple[str, bytes]]:
    text = b'{"text": "a document"}\n' * 20
    array = np.arange(300, dtype="<i4")
    tensors = {"weight": torch.arange(300, dtype=torch.float32)}

    def buffer(write) -> bytes:
        target = io.BytesIO()
        write(target)
        return target.getvalue()

    def file(write) -> bytes:
        with tempfile.TemporaryDirectory() as folder:
            write(Path(folder) / "file")
            return (Path(folder) / "file").read_bytes()

    def zipped(target) -> None:
        with zipfile.ZipFile(target, "w") as archive:
            archive.writestr("model/config.json", text)

    def tarred(target) -> None:
        with tarfile.open(fileobj=target, mode="w") as archive:
            info = tarfile.TarInfo("model/config.json")
            info.size = len(text)
            archive.addfile(info, io.BytesIO(text))

    def hdf5(path) -> None:
        with h5py.File(path, "w") as target:
            target["x"] = array

    def gguf_file(path) -> None:
        writer = gguf.GGUFWriter(path, "llama")
        writer.add_tensor("x", array.astype(np.float32))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()

    def sqlite(path) -> None:
        connection = sqlite3.connect(path)
        connection.execute("create table t (x)")
        connection.commit()
        connection.close()

    table = pyarrow.table({"text": ["a", "b"]})
    return {
        "gzip": ("kGzip", gzip.compress(text, mtime=0)),
        "zstd": ("kZstd", zstandard.compress(text)),
        "xz": ("kOtherPacked", lzma.compress(text)),
        "bzip2": ("kOtherPacked", bz2.compress(text)),
        "lz4": ("kOtherPacked", lz4.frame.compress(text)),
        "zip": ("kZip", buffer(zipped)),
        "npz": ("kZip", buffer(lambda target: np.savez(target, array))),
        "tar": ("kTar", buffer(tarred)),
        "torch": ("kTorchZip", buffer(lambda target: torch.save(tensors, target))),
        "torch-named": ("kTorchZip", file(lambda path: torch.save(tensors, path.with_name("file")))),
        "torch-old": ("kPickle", buffer(lambda target: torch.save(tensors, target, _use_new_zipfile_serialization=False))),
        "pickle": ("kPickle", pickle.dumps({"a": array})),
        "safetensors": ("kSafetensors", safetensors.torch.save(tensors)),
        "safetensors-metadata": ("kSafetensors", safetensors.torch.save(tensors, {"format": "pt"})),
        "gguf": ("kGguf", file(gguf_file)),
        "hdf5": ("kHdf5", file(hdf5)),
        "npy": ("kNumpy", buffer(lambda target: np.save(target, array))),
        "parquet": ("kOtherFormat", buffer(lambda target: pyarrow.parquet.write_table(table, target))),
        "arrow": ("kOtherFormat", buffer(lambda target: pyarrow.ipc.new_file(target, table.schema).close())),
        "sqlite": ("kOtherFormat", file(sqlite)),
    }


def main() -> None:
    OUT.parent.mkdir(parents=True, exist_ok=True)
    found = {name: {"content": content, "size": len(data), "head": data[:HEAD].hex()} for name, (content, data) in {**TEXTS, **written()}.items()}
    OUT.write_text(json.dumps(found, indent=0) + "\n")
    print(f"{OUT}: {len(found)} files")


if __name__ == "__main__":
    main()
