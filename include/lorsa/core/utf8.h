#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "lorsa/core/api.h"

namespace lorsa {

/// Offset of the first byte that is not part of well-formed UTF-8 (Unicode 15, table 3-7: no
/// overlong forms, no surrogates, nothing above U+10FFFF); npos if there is none. Linear time.
[[nodiscard]] LORSA_API size_t find_invalid_utf8(std::string_view text) noexcept;

/// Offset of the first non-ASCII byte from `at` on, or text.size(). Eight bytes at a time.
[[nodiscard]] LORSA_API size_t skip_ascii(std::string_view text, size_t at) noexcept;

/// `bytes` with every maximal ill-formed part replaced by U+FFFD (Unicode 3.9, as Python does).
[[nodiscard]] LORSA_API std::string replace_invalid_utf8(std::string_view bytes);

}  // namespace lorsa
