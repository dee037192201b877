#pragma once

#include <string>
#include <string_view>

#include "lorsa/io/json.h"

namespace lorsa::lm {

/// The member `normalizer` of tokenizer.json: none, NFC, or a Sequence of these. Immutable.
class Normalizer {
 public:
  /// `settings` is null for none. Throws FormatError naming what is not supported.
  Normalizer(const io::Json& settings, const std::string& where);

  /// `text` (valid UTF-8) as it is, or its normal form in `buffer`. Time n log n in the longest run
  /// of combining marks, else linear.
  [[nodiscard]] std::string_view apply(std::string_view text, std::string& buffer) const;

 private:
  bool nfc_ = false;
};

/// Unicode's normal form C of valid UTF-8.
[[nodiscard]] std::string to_nfc(std::string_view text);

}  // namespace lorsa::lm
