#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "lm/post_processor.h"
#include "lorsa/io/json.h"

namespace lorsa::lm {

/// What tokenizer.json knows of ids and tokens.
struct Vocabulary {
  std::function<std::optional<int32_t>(const std::string&)> id_of;  ///< none: no such token
  std::function<std::string(int32_t)> text_of;                      ///< for people
  int64_t size = 0;
};

struct SpecialTokenIds {
  std::optional<int32_t> bos;
  std::optional<int32_t> eos;
  std::optional<int32_t> pad;
  /// These and every id of an eos list that holds `eos`, ascending.
  std::vector<int32_t> unscored;
  std::vector<std::string> warnings;  ///< statements that contradict what counts
  std::vector<std::string> notes;     ///< what the tokenizer's own files do not say
};

/// BOS, EOS and PAD of the tokenizer in `folder`, from the first of these that names one (a null,
/// an empty list and a negative id name none):
///
/// 1. the tokenizer's own files, as transformers reads them: tokenizer_config.json (bos_token, as
///    text or object), before it special_tokens_map.json unless tokenizer_config.json has
///    added_tokens_decoder, else behind it; `padding` of tokenizer.json; the one token that its
///    template puts before (BOS) or behind (EOS) a text
/// 2. config.json, then generation_config.json (bos_token_id; of several eos_token_id the first)
/// 3. the usual names ("<|endoftext|>"); without any BOS the end-of-text token serves as BOS
///
/// Another statement of 1 or 2 contradicts if it does not hold that id; lists of EOS that have an
/// id in common with it agree, and all of their ids are unscored.
///
/// `file` is tokenizer.json, `around` its template. Throws FormatError naming file and key for a
/// token that is not in the vocabulary and an id outside it where these would count, and for values
/// of another type.
[[nodiscard]] SpecialTokenIds read_special_ids(const std::filesystem::path& folder,
                                               const io::Json& file,
                                               const Template& around,
                                               const Vocabulary& vocabulary);

}  // namespace lorsa::lm
