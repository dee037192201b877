#pragma once

#include <algorithm>
#include <cstdint>
#include <span>

namespace lorsa::lm {

struct CodeRange {
  uint32_t first;
  uint32_t last;  ///< inclusive
};

/// Whether one of ascending ranges holds `code`.
[[nodiscard]] inline bool in_ranges(std::span<const CodeRange> ranges, uint32_t code) noexcept {
  const auto found = std::lower_bound(ranges.begin(), ranges.end(), code,
                                      [](const CodeRange& a, uint32_t b) { return a.last < b; });
  return found != ranges.end() && found->first <= code;
}

/// Characters that PCRE2 puts into another general category (or, for U+180E, into `\s`) than the
/// `tokenizers` package does, with a character of the same UTF-8 length that both see as the
/// package sees these.
struct StandIn {
  uint32_t first;
  uint32_t last;  ///< inclusive
  uint32_t use;
};

/// Ascending.
[[nodiscard]] std::span<const StandIn> stand_ins();

/// Ascending ranges of the characters that the package's Digits step calls numeric (Nd, Nl, No).
[[nodiscard]] std::span<const CodeRange> numeric_ranges();

/// Ascending ranges of characters younger than the package's normal form C, which leaves them and
/// what is around them as they are.
[[nodiscard]] std::span<const CodeRange> opaque_to_nfc();

}  // namespace lorsa::lm
