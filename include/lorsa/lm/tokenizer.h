#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

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
class Tokenizer {
 public:
  /// Reads `folder`/tokenizer.json (and special ids from tokenizer_config.json / config.json where
  /// they are there). Throws FormatError naming any setting that is not supported (normaliser,
  /// pre-tokeniser, model type, post-processor).
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
  /// Ids that stand for text: all that have a token but the file's added tokens; ascending.
  [[nodiscard]] std::vector<int32_t> ordinary_ids() const;
  /// Ids as the model's files name them: config.json, else tokenizer_config.json, else tokens with
  /// the usual names. For a model without BOS the end-of-text token serves as BOS (SmolLM2: id 0).
  [[nodiscard]] std::optional<int32_t> bos_id() const;
  [[nodiscard]] std::optional<int32_t> eos_id() const;
  [[nodiscard]] std::optional<int32_t> pad_id() const;
  /// Id of a token by its text in the file ("<|endoftext|>", "Ġthe"), if there is one.
  [[nodiscard]] std::optional<int32_t> id_of(const std::string& token) const;

 private:
  struct Impl;
  std::unique_ptr<const Impl> impl_;
};

}  // namespace lorsa::lm
