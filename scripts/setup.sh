#!/usr/bin/env bash
# Installs what building and running need: Debian packages and a Python environment with LibTorch.
set -euo pipefail

usage() {
  cat <<'TEXT'
usage: scripts/setup.sh [--tests | --dev]

Installs the Debian packages that are missing (as root; otherwise says which) and makes .venv with the packages of
scripts/requirements.txt (torch 2.11.0 brings LibTorch: 4.7 GB). Does nothing where all is there.

  --tests  also what the tests need: Open MPI (several ranks on the CPU), Chromium (the pages), scripts/requirements-dev.txt
  --dev    that and the tools of scripts/format.sh and scripts/lint.sh (clang-format, clang-tidy)

LORSA_PYTHON names the Python to make .venv with; default: the first of python3 in PATH that is 3.11 or newer and has venv.
TEXT
}

packages=(
  build-essential ca-certificates catch2 ccache cmake git libcli11-dev libhdf5-dev libpcre2-dev libspdlog-dev libssl-dev
  libutf8proc-dev libxxhash-dev libyaml-cpp-dev libzstd-dev ninja-build nlohmann-json3-dev pkg-config python3
  python3-venv zlib1g-dev
)

tests=
for argument in "$@"; do
  case "$argument" in
    --tests) tests=1 ;;
    --dev) tests=1; packages+=(clang-format clang-tidy) ;;
    -h | --help) usage; exit 0 ;;
    *) usage >&2; exit 2 ;;
  esac
done

[[ -z $tests ]] || packages+=(chromium libopenmpi-dev openmpi-bin)

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
venv=$root/.venv
needed_gb=8

say() { echo "setup: $*"; }
fail() { echo "setup: $*" >&2; exit 1; }

install_packages() {
  if ! command -v dpkg-query >/dev/null; then
    say "this is no Debian: install the counterparts of these by hand: ${packages[*]}"
    return
  fi
  local missing=() package
  for package in "${packages[@]}"; do
    [[ $(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null) == installed ]] || missing+=("$package")
  done
  [[ ${#missing[@]} -gt 0 ]] || return 0
  if [[ $(id -u) -ne 0 ]]; then
    fail "Debian packages are missing; as root run:
  apt-get update && apt-get install --no-install-recommends ${missing[*]}"
  fi
  say "installing Debian packages: ${missing[*]}"
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq || fail "apt-get update failed"
  apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null || fail "apt-get install failed"
}

# A Python of a version manager may stand before Debian's and lack parts, so the first that can do the work is taken.
find_python() {
  local candidate
  for candidate in ${LORSA_PYTHON:-$(type -ap python3)}; do
    if "$candidate" -c 'import sys, venv, ensurepip, pydoc_data.topics; sys.exit(sys.version_info < (3, 11))' \
        2>/dev/null; then
      echo "$candidate"
      return
    fi
  done
  return 1
}

install_python_packages() { # REQUIREMENTS
  local requirements=$1 stamp python free_gb
  stamp=$venv/lorsa-$(sha256sum "$requirements" | cut -c 1-16)
  if [[ -e $stamp && -x $venv/bin/python ]]; then
    return
  fi
  if ! "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
    python=$(find_python) || fail "no usable ${LORSA_PYTHON:-python3}: 3.11 or newer with venv and pydoc is needed"
    say "making .venv with $("$python" --version)"
    "$python" -m venv --clear "$venv"
  fi
  free_gb=$(($(df --output=avail -k "$venv" | tail -1) / 1024 / 1024))
  if [[ ! -d $(echo "$venv"/lib/python3*/site-packages/torch) && $free_gb -lt $needed_gb ]]; then
    fail "$free_gb GB are free beside $venv, about $needed_gb GB are needed for LibTorch and its download"
  fi
  say "installing Python packages: $(tr '\n' ' ' <"$requirements")"
  "$venv/bin/python" -m pip install --disable-pip-version-check --quiet --requirement "$requirements" \
    || fail "pip could not install $requirements"
  touch "$stamp"
}

install_packages
install_python_packages "$root/scripts/requirements.txt"
[[ -z $tests ]] || install_python_packages "$root/scripts/requirements-dev.txt"
say "complete"
