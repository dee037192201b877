#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace lorsa::lm {

/// One character of valid UTF-8.
struct Utf8Character {
  uint32_t code;
  uint32_t size;  ///< bytes
};

/// The character that starts at byte `at` of valid UTF-8; `at` < text.size().
[[nodiscard]] Utf8Character decode_utf8(std::string_view text, size_t at) noexcept;

/// Appends `code` as UTF-8.
void append_utf8(uint32_t code, std::string& out);

/// White_Space of Unicode.
[[nodiscard]] bool is_white_space(uint32_t code) noexcept;

/// General category N, as Rust's char::is_numeric.
[[nodiscard]] bool is_numeric(uint32_t code) noexcept;

/// True if stand_ins() lists `code`.
[[nodiscard]] bool has_stand_in(uint32_t code) noexcept;

/// A copy of `text` (valid UTF-8, same length) with stand_ins() put in; empty if `text` holds none
/// of those characters, as almost every text does.
[[nodiscard]] std::string with_stand_ins(std::string_view text);

}  // namespace lorsa::lm
