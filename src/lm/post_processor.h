#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "lorsa/io/json.h"

namespace lorsa::lm {

/// Ids that the post-processor puts around a text.
struct Template {
  std::vector<int32_t> before;
  std::vector<int32_t> after;
};

/// The member `post_processor` of tokenizer.json, null for none. Throws FormatError naming what is
/// not supported.
[[nodiscard]] Template read_template(const io::Json& settings, const std::string& where);

}  // namespace lorsa::lm
