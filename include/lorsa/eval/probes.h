#pragma once

#include <cstdint>

#include "lorsa/core/api.h"
#include "lorsa/eval/intervene.h"
#include "lorsa/lm/tokenizer.h"

namespace lorsa::eval {

/// A list of random tokens, given twice.
struct RepeatOptions {
  int64_t num_rows = 8;
  int64_t period = 64;  ///< tokens of a copy
  uint64_t seed = 0;
  bool bos = true;  ///< rows begin with BOS, if the tokenizer has one
};

/// Rows of BOS, `period` tokens and the same tokens again: what
/// follows can be known from the first copy alone.
///
/// The tokens of a copy are drawn from Tokenizer::ordinary_ids() uniformly and differ from each
/// other, so that a token of the second copy has one earlier occurrence. Predictions of the second
/// copy's tokens count, without its first one, which nothing announces; edits act everywhere but at
/// BOS. The same options and vocabulary give the same rows on every machine. Throws ConfigError if
/// a number is not positive or the vocabulary has fewer tokens than a copy.
[[nodiscard]] LORSA_API ProbeRows repeated_random_tokens(const lm::Tokenizer& tokenizer,
                                                         const RepeatOptions& options);

/// Rows as a cache has them: predictions of scored tokens count and edits act at scored positions.
[[nodiscard]] LORSA_API ProbeRows scored_rows(const at::Tensor& tokens_BT,
                                              const at::Tensor& scored_BT);

}  // namespace lorsa::eval
