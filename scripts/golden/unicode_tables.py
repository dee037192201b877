"""Writes src/lm/unicode_tables.cpp: where the `tokenizers` package sees Unicode differently from PCRE2 and utf8proc.

    python scripts/golden/unicode_tables.py > src/lm/unicode_tables.cpp

The package's Split and ByteLevel steps match with Oniguruma's Unicode tables, its Digits step with those of Rust; both are asked
here, character by character, so nothing is copied from a Unicode version by hand. The other side is PCRE2 10.42 of Debian 12,
whose tables are Unicode 14, as Python 3.11's unicodedata is. Its NFC step knows Unicode 9; utf8proc 2.8 of Debian 12, Unicode 15, is asked
beside it. Needs Python 3.11, the package tokenizers and libutf8proc.so.2.
"""

import ctypes
import sys
import unicodedata

import tokenizers
from tokenizers import Regex, normalizers, pre_tokenizers

CATEGORIES = "Lu Ll Lt Lm Lo Mn Mc Me Nd Nl No Pc Pd Ps Pe Pi Pf Po Sm Sc Sk So Zs Zl Zp Cc Cf Co".split()
CHARACTERS = [chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000]


def matched(step) -> set[str]:
    """The characters that a step with behaviour `removed` takes out of the text of all characters."""
    kept: set[str] = set()
    for piece, _ in step.pre_tokenize_str("".join(CHARACTERS)):
        kept.update(piece)
    return set(CHARACTERS) - kept


def ranges(codes) -> list[list[int]]:
    result: list[list[int]] = []
    for code in sorted(codes):
        if result and result[-1][1] == code - 1:
            result[-1][1] = code
        else:
            result.append([code, code])
    return result


class Property(ctypes.Structure):
    """The beginning of utf8proc_property_t."""
    _fields_ = [("category", ctypes.c_int16), ("combining_class", ctypes.c_int16)]


def opaque_to_nfc() -> set[int]:
    """Characters that take part in the normal form for utf8proc but not for the package: marks that do not move before another, and results
    and last parts of compositions that do not happen."""
    library = ctypes.CDLL("libutf8proc.so.2")
    library.utf8proc_get_property.restype = ctypes.POINTER(Property)
    library.utf8proc_NFD.restype = library.utf8proc_NFC.restype = ctypes.c_char_p
    package = normalizers.NFC()
    found = set()
    for character in CHARACTERS[1:]:
        code = ord(character)
        if library.utf8proc_get_property(code).contents.combining_class not in (0, 240):
            moved = "a\u0345" + character  # U+0345 is the only one of the highest class, 240
            if package.normalize_str(moved) == moved:
                found.add(code)
        parts = library.utf8proc_NFD(character.encode()).decode()
        if len(parts) > 1 and library.utf8proc_NFC(parts.encode()).decode() == character != package.normalize_str(parts):
            found |= {code, ord(parts[-1])}
    return found


def main() -> None:
    assert unicodedata.unidata_version == "14.0.0", unicodedata.unidata_version
    category = {}
    for name in CATEGORIES:
        for character in matched(pre_tokenizers.Split(Regex(r"\p{%s}" % name), "removed")):
            category[character] = name

    # PCRE2 counts U+180E as \s (it was a space before Unicode 6.3); any format character stands in for it.
    differing = [c for c in CHARACTERS if c in category and category[c] != unicodedata.category(c)] + ["\u180e"]
    stand_in = {}
    for character in CHARACTERS:
        key = (unicodedata.category(character), len(character.encode()))
        if character not in differing:
            stand_in[key] = character  # the last one: no pattern in use names it
    rows: list[list[int]] = []
    for character in sorted(differing):
        code, use = ord(character), ord(stand_in[category[character], len(character.encode())])
        if rows and rows[-1][1] == code - 1 and rows[-1][2] == use:
            rows[-1][1] = code
        else:
            rows.append([code, code, use])

    spaced = pre_tokenizers.Digits(individual_digits=True).pre_tokenize_str("a".join(CHARACTERS))
    numeric = ranges(ord(piece) for piece, _ in spaced if len(piece) == 1 and piece != "a")

    out = sys.stdout
    out.write(f"// Written by scripts/golden/unicode_tables.py with tokenizers {tokenizers.__version__}; do not edit.\n")
    out.write('#include "lm/unicode_tables.h"\n\nnamespace lorsa::lm {\nnamespace {\n\n// clang-format off\n')
    out.write("constexpr StandIn kStandIns[] = {\n")
    for first, last, use in rows:
        out.write(f"    {{0x{first:05x}, 0x{last:05x}, 0x{use:05x}}},\n")
    out.write("};\n\nconstexpr CodeRange kNumeric[] = {\n")
    for first, last in numeric:
        out.write(f"    {{0x{first:05x}, 0x{last:05x}}},\n")
    out.write("};\n\nconstexpr CodeRange kOpaqueToNfc[] = {\n")
    for first, last in ranges(opaque_to_nfc()):
        out.write(f"    {{0x{first:05x}, 0x{last:05x}}},\n")
    out.write("};\n// clang-format on\n\n}  // namespace\n\n")
    out.write("std::span<const StandIn> stand_ins() {\n  return kStandIns;\n}\n\n")
    out.write("std::span<const CodeRange> numeric_ranges() {\n  return kNumeric;\n}\n\n")
    out.write("std::span<const CodeRange> opaque_to_nfc() {\n  return kOpaqueToNfc;\n}\n\n}  // namespace lorsa::lm\n")


if __name__ == "__main__":
    main()
