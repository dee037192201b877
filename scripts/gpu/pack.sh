#!/usr/bin/env bash
# scripts/gpu_check.sh pack: collects the libraries of scripts/setup.sh in gpu-deps/, for scripts/gpu/packed.cmake.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
packed=$root/gpu-deps
# Sources and libraries go to the other machine together.
limit_mib=64

fail() { echo "pack: $*" >&2; exit 1; }

include=/usr/include
include_arch=$include/$(gcc -print-multiarch)

# Shared libraries: the static ones of HDF5, zlib, zstd and yaml-cpp in Debian are not made for liblorsa.so (no -fPIC), and
# spdlog and fmt have none. A file is named as programs ask for it, so that no symbolic links have to travel.
pack_library() { # FILE NAME, such as libz.so or libz.so.1
  local file name
  file=$(realpath -e "$(gcc -print-file-name="$1")" 2>/dev/null) || fail "$1 is missing: run scripts/setup.sh first"
  name=$(objdump -p "$file" | awk '$1 == "SONAME" {print $2}')
  [[ ! -e $packed/lib/$name ]] || return 0
  cp "$file" "$packed/lib/$name"
  strip --strip-unneeded "$packed/lib/$name"
  for name in $(objdump -p "$file" | awk '$1 == "NEEDED" {print $2}'); do
    case "$name" in
      libc.so.* | libm.so.* | libgcc_s.so.* | libstdc++.so.* | ld-linux*) ;;
      libcurl.so.4) pack_no_curl "$file" ;;
      *) pack_library "$name" ;;
    esac
  done
}

# HDF5 calls curl for files on S3, and curl brings thirty libraries. Nothing here opens such a file.
pack_no_curl() { # THE LIBRARY THAT CALLS IT
  local work=$packed/no-curl
  mkdir "$work"
  objdump -T "$1" | awk '$NF ~ /^curl_/ && /\*UND\*/ {print "int " $NF "(void) { return 0; }"}' >"$work/curl.c"
  echo 'CURL_OPENSSL_4 { curl_*; };' >"$work/curl.map"
  gcc -shared -fPIC -O2 -w -Wl,-soname,libcurl.so.4 "-Wl,--version-script=$work/curl.map" \
    -o "$packed/lib/libcurl.so.4" "$work/curl.c"
  rm -r "$work"
}

pack_headers() { # FOLDER FILES OR FOLDERS
  mkdir -p "$packed/include/$1"
  cp -rL -t "$packed/include/$1" "${@:2}" || fail "headers are missing: run scripts/setup.sh first"
}

rm -rf "$packed"
mkdir -p "$packed/lib"

for library in spdlog fmt yaml-cpp hdf5_serial crypto z pcre2-8 utf8proc xxhash zstd; do
  pack_library "lib$library.so"
done

# One folder a package: LibTorch's headers must not find spdlog's fmt before their own.
pack_headers spdlog "$include"/{spdlog,fmt}
pack_headers yaml-cpp "$include/yaml-cpp"
pack_headers hdf5 "$include"/hdf5/serial/*.h
pack_headers openssl "$include/openssl"
pack_headers openssl/openssl "$include_arch"/openssl/*.h
pack_headers z "$include"/{zlib,zconf}.h
pack_headers pcre2-8 "$include/pcre2.h"
pack_headers utf8proc "$include/utf8proc.h"
pack_headers xxhash "$include"/xxh*.h
pack_headers zstd "$include"/zstd*.h
pack_headers nlohmann "$include/nlohmann"
pack_headers CLI "$include/CLI"
pack_headers catch2 "$include/catch2"

bytes_of() { xargs -0 du -cb -- | awk 'END {print $1}'; }
cd "$root"
tree=$(git ls-files -z --cached --others --exclude-standard | bytes_of)
libraries=$(find gpu-deps -type f -print0 | bytes_of)
echo "pack: gpu-deps $((libraries >> 20)) MiB, with the sources $(((tree + libraries) >> 20)) of $limit_mib MiB"
newest() { objdump -T gpu-deps/lib/*.so* 2>/dev/null | grep -oE "\b$1_[0-9.]+" | sort -uV | tail -n 1; }
echo "pack: the other machine needs $(newest GLIBC) and $(newest GLIBCXX) or newer"
[[ $((tree + libraries)) -lt $((limit_mib << 20)) ]] || fail "more than $limit_mib MiB"
