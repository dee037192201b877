#!/usr/bin/env python3
"""Rewrites a CUDA source so that a C++ compiler takes it, with the headers of toolkit/ in place of CUDA's.

  kernel<T, 4><<<grid, block, bytes, stream>>>(a, b)   a Launcher with file and line, given a lambda that calls the kernel, and a, b
  __global__ void kernel(...) {                        the same, and at its start the kernel says its name
  __shared__ T name[4][8];                             auto& name = shared<T[4][8]>("name", ...)
  extern __shared__ T name[];                          T* name = dynamic_shared<T>("name")

Lines keep their numbers.
"""

import argparse
import re
import sys
from pathlib import Path

EMULATION = "::lorsa::emulation::"
# A name, and its template arguments where it has some.
KERNEL_NAME = re.compile(r"[A-Za-z_][\w:]*(<[^<>;{}]*(<[^<>;{}]*>[^<>;{}]*)*>)?\s*$")
DYNAMIC = re.compile(r"extern\s+__shared__\s+(.+?)\s+(\w+)\[\];")
STATIC = re.compile(r"__shared__\s+([^;=]+?)\s+(\w+)((?:\[[^\]]*\])*);")


def closing(text, start):
    """The place of the parenthesis that closes the one at `start`."""
    depth = 0
    for i in range(start, len(text)):
        depth += (text[i] == "(") - (text[i] == ")")
        if depth == 0:
            return i
    sys.exit(f"translate.py: nothing closes the parenthesis of line {text.count(chr(10), 0, start) + 1}")


def translate_launches(text):
    out = ""
    while "<<<" in text:
        at = text.index("<<<")
        end = text.index(">>>", at)
        name = KERNEL_NAME.search(text[:at])
        first = text.index("(", end)
        last = closing(text, first)
        out += text[: name.start()]
        arguments = text[first + 1:last]
        out += (f"{EMULATION}launcher({{__FILE__, __LINE__}}, {text[at + 3:end]})"
                f"([&](auto... passed) {{ {name[0]}(passed...); }}{', ' if arguments.strip() else ''}{arguments})")
        text = text[last + 1:]
    return out + text


def announce_kernels(text):
    out = ""
    while match := re.search(r"\b__global__\b", text):
        at = text.index("(", match.end())
        while text[:at].rstrip().endswith("__launch_bounds__"):
            at = text.index("(", closing(text, at))
        at = closing(text, at) + 1
        body = re.compile(r"\s*\{").match(text, at)
        if body:
            out += text[:body.end()] + f" {EMULATION}enter_kernel(__PRETTY_FUNCTION__);"
            text = text[body.end():]
        else:  # a declaration
            out += text[:at]
            text = text[at:]
    return out + text


def translate_shared(text):
    text = DYNAMIC.sub(rf'\1* \2 = {EMULATION}dynamic_shared<\1>("\2");', text)
    return STATIC.sub(rf'auto& \2 = {EMULATION}shared<\1\3>("\2", __PRETTY_FUNCTION__, __LINE__);', text)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path)
    parser.add_argument("destination", type=Path)
    parser.add_argument("--name", help="what messages call the source (default: its path)")
    arguments = parser.parse_args()
    text = arguments.source.read_text(encoding="utf-8")
    text = announce_kernels(translate_shared(translate_launches(text)))
    arguments.destination.parent.mkdir(parents=True, exist_ok=True)
    arguments.destination.write_text(f'#line 1 "{arguments.name or arguments.source}"\n{text}', encoding="utf-8")


if __name__ == "__main__":
    main()
