#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "lorsa/core/progress.h"
#include "lorsa/data/manifest.h"
#include "lorsa/eval/evaluate.h"
#include "lorsa/lm/language_model.h"
#include "lorsa/model/dictionary.h"

namespace lorsa::eval {

/// Tokens [n, length] int32 and which of them are scored [n, length] bool.
struct LongRows {
  at::Tensor tokens_nT;
  at::Tensor scored_nT;
};

/// Whether every row of a cache begins with BOS, which a longer row then keeps once.
enum class RowStart { kBos, kText };

/// How many rows of `row_length` a row of `length` is made of.
[[nodiscard]] int64_t rows_for(int64_t length, int64_t row_length, RowStart start);

/// Rows of `length` out of rows [B, T] laid end to end in their order; a rest too short for another
/// row is left out. Throws ConfigError if there are fewer than rows_for() says.
[[nodiscard]] LongRows join_rows(const at::Tensor& tokens_BT,
                                 const at::Tensor& scored_BT,
                                 int64_t length,
                                 RowStart start);

/// Throws ConfigError for context lengths that `options.model` (null: none was given) or
/// `num_rows` rows of the cache do not allow.
void check_context_lengths(const EvalOptions& options,
                           const lm::LanguageModel* model,
                           const data::Manifest& manifest,
                           int64_t num_rows);

/// One report for each of `lorsas`, which read `layer` of the model and lie on its device.
[[nodiscard]] std::vector<LongContextReport> judge_long_rows(
    const lm::LanguageModel& model,
    const Site& site,
    const std::vector<const model::Dictionary*>& dictionaries,
    const LongRows& rows,
    int64_t rows_per_batch,
    Progress::Visible progress);

}  // namespace lorsa::eval
