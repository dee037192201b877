#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
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

struct SpecialTokenIds {
  std::optional<int32_t> bos;
  std::optional<int32_t> eos;
  std::optional<int32_t> pad;
};

/// Id of a token by its text, if there is one.
using IdOf = std::function<std::optional<int32_t>(const std::string&)>;

/// The first of these that speaks: `folder`/config.json (bos_token_id; of several eos_token_id the
/// first), `folder`/tokenizer_config.json (bos_token), the names that are in use ("<|endoftext|>").
/// Without any BOS the end-of-text token serves as BOS. Ids outside [0, vocabulary_size) are
/// FormatErrors, negative ones count as absent.
[[nodiscard]] SpecialTokenIds read_special_ids(const std::filesystem::path& folder,
                                               const IdOf& id_of,
                                               int64_t vocabulary_size);

}  // namespace lorsa::lm
