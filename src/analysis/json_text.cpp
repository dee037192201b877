#include "analysis/json_text.h"

#include <charconv>
#include <cmath>

#include "lorsa/core/error.h"
#include "lorsa/io/json.h"

namespace lorsa::analysis {
namespace {

void replace_all(std::string& text, std::string_view from, std::string_view to) {
  for (size_t at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size())) {
    text.replace(at, from.size(), to);
  }
}

}  // namespace

std::string json_string(std::string_view text) {
  std::string quoted =
      io::Json(std::string(text)).dump(-1, ' ', false, io::Json::error_handler_t::replace);
  // Line separators end a string literal in JavaScript engines before ECMAScript 2019.
  replace_all(quoted, "\xE2\x80\xA8", "\\u2028");
  replace_all(quoted, "\xE2\x80\xA9", "\\u2029");
  return quoted;
}

void append_number(std::string& out, double value) {
  LORSA_CHECK(std::isfinite(value), Error, "JSON has no {}", value);
  char buffer[32];
  const auto result =
      std::to_chars(buffer, buffer + sizeof(buffer), value, std::chars_format::general, 6);
  out.append(buffer, result.ptr);
}

void append_integer(std::string& out, int64_t value) {
  char buffer[24];
  const auto result = std::to_chars(buffer, buffer + sizeof(buffer), value);
  out.append(buffer, result.ptr);
}

TokenTexts::TokenTexts(const lm::Tokenizer& tokenizer)
    : tokenizer_(tokenizer), quoted_(static_cast<size_t>(tokenizer.vocabulary_size())) {}

const std::string& TokenTexts::quoted(int32_t id) {
  const auto index = static_cast<size_t>(id);
  if (index >= quoted_.size()) {
    // Models pad their vocabulary beyond the tokenizer's.
    LORSA_CHECK(id >= 0 && id < (1 << 24), FormatError, "token id {} is not a token's", id);
    quoted_.resize(index + 1);
  }
  if (quoted_[index].empty()) {
    quoted_[index] = json_string(tokenizer_.token_text(id));
  }
  return quoted_[index];
}

}  // namespace lorsa::analysis
