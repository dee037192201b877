#!/usr/bin/env bash
# Formats the sources, or checks that they are formatted.
set -euo pipefail

usage() {
  cat <<'TEXT'
usage: scripts/format.sh [--check]

Runs clang-format over all tracked C++ and CUDA sources. --check changes nothing and fails where something would change.
TEXT
}

mode=(-i)
case "${1:-}" in
  "") ;;
  --check) mode=(--dry-run -Werror) ;;
  -h | --help) usage; exit 0 ;;
  *) usage >&2; exit 2 ;;
esac

cd "$(dirname "${BASH_SOURCE[0]}")/.."
# Another major version formats some lines differently.
format=$(command -v clang-format-14 || command -v clang-format) \
  || { echo "format: clang-format is missing: run scripts/setup.sh --dev" >&2; exit 1; }
version=$("$format" --version | grep -oE 'version [0-9]+' | cut -d ' ' -f 2)
[[ $version == 14 ]] || { echo "format: $format is version $version, 14 is needed" >&2; exit 1; }

mapfile -t files < <(git ls-files '*.h' '*.cpp' '*.cu' '*.cuh')
[[ ${#files[@]} -gt 0 ]] || { echo "format: no tracked sources" >&2; exit 1; }
"$format" "${mode[@]}" "${files[@]}"
echo "format: ${#files[@]} files"
