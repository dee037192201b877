#include "lm/normalizer.h"

#include <utf8proc.h>

#include <algorithm>
#include <array>
#include <vector>

#include "lm/unicode_tables.h"
#include "lm/utf8.h"
#include "lorsa/core/error.h"
#include "lorsa/core/text.h"
#include "lorsa/core/utf8.h"

namespace lorsa::lm {
namespace {

bool reads_nfc(const io::Json& settings, const std::string& where) {
  if (settings.is_null()) {
    return false;
  }
  const auto type = io::member<std::string>(settings, "type", where);
  if (type == "NFC") {
    return true;
  }
  LORSA_CHECK(type == "Sequence", FormatError, "{}: normalizer {} is not supported", where, type);
  const auto inner = io::member<io::Json>(settings, "normalizers", where);
  LORSA_CHECK(inner.is_array(), FormatError, "{}: normalizers: expected a list", where);
  bool any = false;
  for (size_t i = 0; i < inner.size(); ++i) {
    any = reads_nfc(inner[i], formatted("{}.normalizers[{}]", where, i)) || any;
  }
  return any;
}

bool is_opaque(utf8proc_int32_t code) {
  return in_ranges(opaque_to_nfc(), static_cast<uint32_t>(code));
}

int combining_class(utf8proc_int32_t code) {
  return is_opaque(code) ? 0 : utf8proc_get_property(code)->combining_class;
}

// The canonical decomposition. utf8proc's own sorts combining marks by insertion, which is
// quadratic in a run of them.
std::vector<utf8proc_int32_t> decompose(std::string_view text) {
  constexpr auto kOptions = static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_DECOMPOSE);
  std::vector<utf8proc_int32_t> codes;
  codes.reserve(text.size());
  for (size_t at = 0; at < text.size();) {
    const Utf8Character character = decode_utf8(text, at);
    at += character.size;
    const auto code = static_cast<utf8proc_int32_t>(character.code);
    if (is_opaque(code)) {
      codes.push_back(code);
      continue;
    }
    std::array<utf8proc_int32_t, 8> parts{};  // the longest canonical decomposition has four
    const utf8proc_ssize_t count =
        utf8proc_decompose_char(code, parts.data(), parts.size(), kOptions, nullptr);
    LORSA_CHECK(count >= 0 && count <= static_cast<utf8proc_ssize_t>(parts.size()), Error,
                "NFC of U+{}: {}", hex_digits(character.code), utf8proc_errmsg(count));
    codes.insert(codes.end(), parts.begin(), parts.begin() + count);
  }
  const auto is_mark = [](utf8proc_int32_t code) { return combining_class(code) != 0; };
  for (auto first = codes.begin(); first != codes.end();) {
    first = std::find_if(first, codes.end(), is_mark);
    const auto last = std::find_if_not(first, codes.end(), is_mark);
    std::stable_sort(first, last, [](utf8proc_int32_t a, utf8proc_int32_t b) {
      return combining_class(a) < combining_class(b);
    });
    first = last;
  }
  return codes;
}

}  // namespace

std::string to_nfc(std::string_view text) {
  constexpr auto kOptions = static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE);
  std::vector<utf8proc_int32_t> codes = decompose(text);
  std::string result;
  result.reserve(text.size());
  // Nothing is composed over an opaque character, which therefore begins a stretch of its own.
  for (auto first = codes.begin(); first != codes.end();) {
    const auto last = std::find_if(first + 1, codes.end(), is_opaque);
    const utf8proc_ssize_t count = utf8proc_normalize_utf32(&*first, last - first, kOptions);
    LORSA_CHECK(count >= 0, Error, "NFC: {}", utf8proc_errmsg(count));
    for (utf8proc_ssize_t i = 0; i < count; ++i) {
      append_utf8(static_cast<uint32_t>(first[i]), result);
    }
    first = last;
  }
  return result;
}

Normalizer::Normalizer(const io::Json& settings, const std::string& where)
    : nfc_(reads_nfc(settings, where)) {}

std::string_view Normalizer::apply(std::string_view text, std::string& buffer) const {
  if (!nfc_ || skip_ascii(text, 0) == text.size()) {
    return text;
  }
  buffer = to_nfc(text);
  return buffer;
}

}  // namespace lorsa::lm
