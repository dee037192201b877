#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "lorsa/analysis/families.h"
#include "lorsa/lm/tokenizer.h"

namespace lorsa::analysis {

/// A position with a known answer: the sources that a head of the family reads from there.
struct ProbeQuery {
  int32_t row = 0;
  int32_t position = 0;
  std::vector<int32_t> sources;  ///< ascending, none behind `position`
};

/// Rows in which a family of heads shows itself. Rows begin with BOS where the model has one; what
/// is shorter than the longest is filled up behind its end, where nothing is asked.
struct Probe {
  std::string family;
  std::string answer;    ///< in words
  at::Tensor tokens_BT;  ///< int32
  std::vector<ProbeQuery> queries;
};

/// Random numbers that are the same on every machine.
class Draw {
 public:
  Draw(uint64_t seed, std::string_view stream);
  /// Uniform in [0, n).
  [[nodiscard]] int64_t below(int64_t n);

  template <typename T>
  [[nodiscard]] const T& from(const std::vector<T>& values) {
    return values[static_cast<size_t>(below(static_cast<int64_t>(values.size())))];
  }

  template <typename T>
  void shuffle(std::vector<T>& values) {
    for (size_t i = values.size(); i > 1; --i) {
      std::swap(values[i - 1], values[static_cast<size_t>(below(static_cast<int64_t>(i)))]);
    }
  }

 private:
  uint64_t state_;
};

// Random tokens of Tokenizer::ordinary_ids(), each row drawn without repetition:
//   induction        r r: in the second copy, what followed the token in the first
//   duplicate_token  r and the same tokens in another order: the token's first occurrence
//   previous_token   r: the position before
//   attention_sink   r: the first position
[[nodiscard]] std::vector<Probe> random_token_probes(const lm::Tokenizer& tokenizer,
                                                     const ProbeOptions& options);

// Text, answers found by its characters, whatever the tokenizer makes of them:
//   subtoken_induction   nonsense words come again, cut differently (capitals, no blank before):
//   from
//                        inside the word the token that holds its next character
//   character_induction  single letters, repeated as a sequence: what followed in the first copy
//   successor            series of numbers, numerals, weekdays, months, letters with unrelated
//   words
//                        between: before a member, the member before it
//   topic                a text whose nouns belong to one subject: nouns at least kFarTokens back
[[nodiscard]] std::vector<Probe> text_probes(const lm::Tokenizer& tokenizer,
                                             const ProbeOptions& options);

/// Tokens between a topic's query and its nearest answer.
inline constexpr int64_t kFarTokens = 32;

/// Sums, differences and products of two operands, "Question: What is a+b?\nAnswer:", cut as the
/// tokenizer cuts numbers.
struct ArithmeticProbe {
  /// One query a prompt, at its last token: the operands' tokens. Prompts in the order sign, a, b.
  Probe probe;
  std::vector<std::string> signs;
  std::vector<int64_t> operands;
};

[[nodiscard]] ArithmeticProbe arithmetic_probe(const lm::Tokenizer& tokenizer,
                                               const ProbeOptions& options);

}  // namespace lorsa::analysis
