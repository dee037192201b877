#pragma once

#include <cstddef>
#include <string_view>

namespace lorsa::data {

/// Offset of the first byte that does not belong to well-formed UTF-8 (Unicode 15, table 3-7: no
/// overlong forms, no surrogates, nothing above U+10FFFF), or npos.
[[nodiscard]] size_t first_invalid_utf8(std::string_view text) noexcept;

}  // namespace lorsa::data
