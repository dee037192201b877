#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lorsa/core/api.h"

namespace lorsa::lm {

enum class SpecialTokens { kAdd, kNone };

/// What ids stand for: token i gives bytes[offsets[i], offsets[i + 1]), so offsets has one entry
/// more than there are ids. A character may be spread over several tokens.
struct DecodedText {
  std::string bytes;
  std::vector<size_t> offsets;
};

/// Byte-level BPE as tokenizer.json describes it (SmolLM2, Llama-3, GPT-NeoX, Qwen2 and Qwen3), ids
/// equal to the `tokenizers` package's.
///
/// Immutable after construction, any number of threads may encode.
class LORSA_API Tokenizer {
 public:
  /// Reads `folder`/tokenizer.json and what the files beside it say of special tokens: see
  /// bos_id(). Throws FormatError naming any setting that is not supported (normaliser,
  /// pre-tokeniser, model type, post-processor) and special tokens that the vocabulary lacks. Logs,
  /// once a process, a warning for every statement that contradicts the one that counts, and where
  /// the tokenizer's own files name no BOS or EOS, what serves.
  explicit Tokenizer(const std::filesystem::path& folder);
  ~Tokenizer();
  Tokenizer(Tokenizer&&) noexcept;
  Tokenizer& operator=(Tokenizer&&) noexcept;

  /// Ids of UTF-8 `text`; kAdd applies the post-processor's template. Special tokens written in the
  /// text are recognised; bytes that the vocabulary lacks are left out, as the package does. Limits
  /// and padding that the file may state are the caller's business. Throws FormatError with the
  /// byte offset for invalid UTF-8. Time is linear in the length.
  [[nodiscard]] std::vector<int32_t> encode(std::string_view text, SpecialTokens special) const;

  /// The bytes of the ids joined; single tokens may be parts of a UTF-8 character. Special tokens
  /// give their text. Throws FormatError for an id that has no token.
  [[nodiscard]] std::string decode(const std::vector<int32_t>& ids) const;

  /// The same, with the place of every token.
  [[nodiscard]] DecodedText decode_with_offsets(const std::vector<int32_t>& ids) const;

  /// One token for people: its bytes, invalid UTF-8 replaced by U+FFFD; "[123]" for an id that has
  /// no token (models may have more rows than their vocabulary).
  [[nodiscard]] std::string token_text(int32_t id) const;

  [[nodiscard]] int64_t vocabulary_size() const;
  /// Ids that stand for text: all that have a token but the file's added tokens and unscored_ids();
  /// ascending.
  [[nodiscard]] std::vector<int32_t> ordinary_ids() const;
  /// The ids of the tokenizer, as transformers has them. Of these the first that names one counts:
  /// special_tokens_map.json and tokenizer_config.json (bos_token; the former first unless the
  /// latter has added_tokens_decoder), `padding` and the template of tokenizer.json; config.json
  /// and generation_config.json (bos_token_id; of several eos_token_id the first); tokens with the
  /// usual names. For a tokenizer without BOS the end-of-text token serves as BOS (Qwen3).
  [[nodiscard]] std::optional<int32_t> bos_id() const;
  [[nodiscard]] std::optional<int32_t> eos_id() const;
  [[nodiscard]] std::optional<int32_t> pad_id() const;
  /// Those three and every other end that config.json and generation_config.json list beside the
  /// EOS (Llama-3.1-Instruct has three); ascending. No text: such positions are not scored.
  [[nodiscard]] const std::vector<int32_t>& unscored_ids() const;
  /// Id of a token by its text in the file ("<|endoftext|>", "Ġthe"), if there is one.
  [[nodiscard]] std::optional<int32_t> id_of(const std::string& token) const;

 private:
  struct Impl;
  std::unique_ptr<const Impl> impl_;
};

}  // namespace lorsa::lm
