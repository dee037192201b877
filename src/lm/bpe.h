#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "lm/hash_tables.h"
#include "lorsa/io/json.h"

namespace lorsa::lm {

enum class WordUnits { kBytes, kCharacters };

/// The `model` of tokenizer.json: byte-pair merges over one word at a time. Immutable.
class Bpe {
 public:
  /// With kBytes the vocabulary is written in byte_level_characters(). Throws FormatError naming
  /// any setting that is not supported and any merge that does not fit the vocabulary.
  Bpe(const io::Json& settings, WordUnits units, const std::string& where);

  /// Appends the ids of one word (valid UTF-8, or a part of one whose ends are not cut). The pair
  /// of lowest rank merges first, among equals the leftmost. Units that the vocabulary lacks are
  /// left out, as the package does without an unk_token. Time n log n in the word's length.
  void encode(std::string_view word, std::vector<int32_t>& ids) const;

  /// Tokens as the file writes them, by id; empty where an id has none.
  [[nodiscard]] const std::vector<std::string>& tokens() const { return tokens_; }

 private:
  void read_vocabulary(const io::Json& vocabulary, const std::string& where);
  void read_merges(const io::Json& merges, const std::string& where);
  void find_whole_words(bool ignore_merges);
  void merge_word(std::string_view word, std::vector<int32_t>& ids) const;

  WordUnits units_;
  std::vector<std::string> tokens_;
  WordTable words_{0};  // keys as words are: bytes, not byte_level_characters()
  MergeTable merges_{0};
  std::array<int32_t, 256> byte_ids_{};
  // Whether merging the token's own bytes ends in this token: then a word that is in the vocabulary
  // needs no merging. Almost every word of a text is such a word.
  std::vector<bool> whole_;
};

}  // namespace lorsa::lm
