#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "lm/split_pattern.h"
#include "lorsa/io/json.h"

namespace lorsa::lm {

/// What the matches of a Split step become (names as in tokenizer.json).
enum class SplitBehavior { kRemoved, kIsolated, kMergedWithPrevious, kMergedWithNext, kContiguous };

/// The steps of `pre_tokenizer` that cut a text into the words BPE works on. Immutable.
class PreTokenizer {
 public:
  using Word = std::function<void(std::string_view)>;

  /// `settings` is the member pre_tokenizer, null for none. Throws FormatError naming what is not
  /// supported.
  PreTokenizer(const io::Json& settings, const std::string& where);

  /// True if there is a ByteLevel step: words then are sequences of bytes, else of characters.
  [[nodiscard]] bool byte_level() const { return byte_level_; }

  /// Calls `word` for every word of `text`, in order. `matched` is with_stand_ins(text), or `text`
  /// itself.
  void split(std::string_view text,
             std::string_view matched,
             MatchBuffer& buffer,
             const Word& word) const;

 private:
  struct Piece {
    std::string_view text;     // what becomes tokens
    std::string_view matched;  // the same bytes with stand-ins: what patterns see
  };

  struct Digits {
    bool individual;
  };

  struct Split {
    SplitPattern pattern;
    SplitBehavior behavior;
    bool invert;
  };

  struct PrefixSpace {};

  using Step = std::variant<Digits, Split, PrefixSpace>;

  void add_steps(const io::Json& settings, const std::string& where);
  void run(size_t step, Piece piece, MatchBuffer& buffer, const Word& word) const;
  void run_digits(
      const Digits& digits, size_t next, Piece piece, MatchBuffer& buffer, const Word& word) const;
  void run_split(
      const Split& split, size_t next, Piece piece, MatchBuffer& buffer, const Word& word) const;

  std::vector<Step> steps_;
  bool byte_level_ = false;
};

}  // namespace lorsa::lm
