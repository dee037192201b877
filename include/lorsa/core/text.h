#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "lorsa/core/api.h"

// The one rule for text that a person wrote: configurations, lists, prompts, corpora, JSON
// (docs/formats.md, "Text files"). Files are read by io::read_text() and io::LineReader.

namespace lorsa {

/// Bytes of the UTF-8 byte order mark that a text begins with: 3, or 0 without one.
///
/// `beginning` is the first bytes of the text, four of them if it has as many. FormatError that
/// names `where` if they are those of UTF-16 or UTF-32: by their mark or, without one, by the zero
/// byte beside the first character.
[[nodiscard]] LORSA_API size_t byte_order_mark(std::string_view beginning,
                                               const std::string& where);

/// `bytes` without a byte order mark. FormatError "where:line: ..." for anything but UTF-8 without
/// NUL, saying what was found instead.
[[nodiscard]] LORSA_API std::string checked_text(std::string bytes, const std::string& where);

/// `text` with "\n" for every "\r\n"; other "\r" stay.
[[nodiscard]] LORSA_API std::string with_line_feeds(std::string text);

/// Hexadecimal digits of `value`, in lower case and without a prefix.
[[nodiscard]] LORSA_API std::string hex_digits(uint32_t value);

/// The lines of `text` without their ends ("\n" or "\r\n", which the last one may lack) and without
/// blanks behind the last word; lines of nothing but blanks are left out.
[[nodiscard]] LORSA_API std::vector<std::string> filled_lines(std::string_view text);

}  // namespace lorsa
