#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "analysis/probes.h"
#include "lorsa/lm/tokenizer.h"

namespace lorsa::analysis {

/// Characters (bytes) [begin, end) of a row's text.
struct Span {
  size_t begin = 0;
  size_t end = 0;
};

/// A text that grows piece by piece and remembers where each piece stands.
class ProbeText {
 public:
  Span append(std::string_view piece);

  [[nodiscard]] const std::string& text() const { return text_; }

 private:
  std::string text_;
};

/// A text cut into tokens, BOS first where the model has one, with the place of every token.
class CutText {
 public:
  CutText(const lm::Tokenizer& tokenizer, const std::string& text);

  [[nodiscard]] const std::vector<int32_t>& tokens() const { return tokens_; }

  /// Position of the token that holds a character.
  [[nodiscard]] int32_t token_at(size_t character) const;
  /// True if a token ends right before this character.
  [[nodiscard]] bool is_cut_at(size_t character) const;
  /// Adds the positions of all tokens that hold characters of `span` but no blanks alone.
  void add_tokens(Span span, std::vector<int32_t>& positions) const;

 private:
  std::vector<int32_t> tokens_;
  std::vector<size_t> begins_;  // of each token behind BOS, and the end
  int32_t first_ = 0;           // position of the first token of the text
};

/// Collects rows of different lengths and queries on them.
class ProbeBuilder {
 public:
  ProbeBuilder(std::string family, std::string answer, int32_t filler);

  /// Number of the row that the following queries are about.
  void start_row(std::vector<int32_t> tokens);
  /// Sources are sorted and made unique; those that lie behind `position` are left out, and a query
  /// without any is not kept.
  void ask(int32_t position, std::vector<int32_t> sources);
  [[nodiscard]] Probe build() const;

 private:
  Probe probe_;
  int32_t filler_;
  std::vector<std::vector<int32_t>> rows_;
};

/// What rows are filled up with: BOS, else token 0.
[[nodiscard]] int32_t filler_token(const lm::Tokenizer& tokenizer);

}  // namespace lorsa::analysis
