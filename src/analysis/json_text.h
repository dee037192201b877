#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "lorsa/lm/tokenizer.h"

// JSON written straight into a string: a dump holds tens of millions of values, for which building
// a tree first would take longer than the forward pass.

namespace lorsa::analysis {

/// `text` quoted and escaped; invalid UTF-8 becomes U+FFFD. Also valid inside JavaScript.
[[nodiscard]] std::string json_string(std::string_view text);

/// A finite number with six significant digits, all that a float32 holds.
void append_number(std::string& out, double value);
void append_integer(std::string& out, int64_t value);

/// Appends "a,b,c" in brackets; `each` appends one element.
template <typename Range, typename Append>
void append_list(std::string& out, const Range& range, const Append& each) {
  out += '[';
  bool first = true;
  for (const auto& element : range) {
    if (!first) {
      out += ',';
    }
    first = false;
    each(element);
  }
  out += ']';
}

/// Texts of tokens, each made once.
class TokenTexts {
 public:
  explicit TokenTexts(const lm::Tokenizer& tokenizer);

  /// The token for people.
  [[nodiscard]] std::string text(int32_t id) const { return tokenizer_.token_text(id); }

  /// The same as a JSON string.
  [[nodiscard]] const std::string& quoted(int32_t id);

 private:
  const lm::Tokenizer& tokenizer_;
  std::vector<std::string> quoted_;
};

}  // namespace lorsa::analysis
