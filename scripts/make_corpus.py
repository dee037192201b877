"""Writes the Python documentation corpus: prose and code that every CPython carries, as JSON lines.

Documents are the entries of pydoc_data.topics (English prose about the language) and the modules of the standard
library. Each line is {"text": ..., "source": ...}. Within a kind the order is that of the names' hashes; the two kinds
alternate so that both have given the same number of characters until the prose ends: the first 200,000 tokens hold both in
equal parts. The order is the same wherever the same CPython runs.
"""

import argparse
import hashlib
import json
import os
import sysconfig
from pathlib import Path

from pydoc_data.topics import topics

# Shuffles the documents. Modules are long, so few documents decide what is held out (5 %, by hash of their text): with most
# salts it is between 0.3 and 18 % of the first 200,000 SmolLM2 tokens, too little to measure on or too little to train on.
# This is the first salt that holds out at least five documents and 4.5 to 7.5 % of the first 150,000 and 200,000 tokens in
# CPython 3.11.2 and 3.11.7.
SALT = 37

# Folders without running text (character tables, test data), packages that not every distribution ships, and other
# people's code.
SKIPPED_FOLDERS = {
    "__pycache__", "dist-packages", "distutils", "encodings", "ensurepip", "idlelib", "lib-dynload", "lib2to3",
    "pydoc_data", "site-packages", "test", "tests", "tkinter", "turtledemo",
}
# Written at build or installation time, different on every machine.
SKIPPED_PREFIXES = ("_sysconfigdata", "sitecustomize", "usercustomize")


def prose():
    return {f"pydoc/{name}": text for name, text in topics.items()}


def code():
    library = Path(sysconfig.get_path("stdlib"))
    documents = {}
    for path in library.rglob("*.py"):
        name = path.relative_to(library)
        if SKIPPED_FOLDERS.intersection(name.parts[:-1]) or name.name.startswith(SKIPPED_PREFIXES):
            continue
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        if text.strip():
            documents[f"stdlib/{name.as_posix()}"] = text
    return documents


def shuffled(documents):
    """(source, text) pairs, last one first, in the order of the sources' hashes."""
    return sorted(documents.items(), key=lambda item: hashlib.sha256(f"{SALT}:{item[0]}".encode()).digest(), reverse=True)


def interleaved(kinds):
    """Takes the next document from the kind that has given the fewest characters so far."""
    waiting = [(0, number, shuffled(documents)) for number, documents in enumerate(kinds)]
    while waiting:
        given, number, documents = min(waiting, key=lambda entry: entry[:2])
        waiting = [entry for entry in waiting if entry[1] != number]
        if documents:
            source, text = documents.pop()
            yield source, text
            waiting.append((given + len(text), number, documents))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, metavar="OUT.jsonl")
    arguments = parser.parse_args()

    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    beside = arguments.out.with_name(f".{arguments.out.name}.{os.getpid()}.tmp")
    count = characters = 0
    try:
        with open(beside, "w", encoding="utf-8") as file:
            for source, text in interleaved([prose(), code()]):
                file.write(json.dumps({"text": text, "source": source}, ensure_ascii=False) + "\n")
                count += 1
                characters += len(text)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(arguments.out)
    finally:
        beside.unlink(missing_ok=True)
    print(f"{arguments.out}: {count} documents, {characters:,} characters")


if __name__ == "__main__":
    main()
