#pragma once

#include <cstdint>
#include <span>

namespace lorsa::lm {

struct CodeRange {
  uint32_t first;
  uint32_t last;  ///< inclusive
};

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

}  // namespace lorsa::lm
