#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "eval/measures.h"

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

/// One report for each of `dictionaries`, which stand for `site` of the model and lie on its
/// device.
[[nodiscard]] std::vector<LongContextReport> judge_long_rows(
    const lm::LanguageModel& model,
    const Site& site,
    const std::vector<const model::Dictionary*>& dictionaries,
    const LongRows& rows,
    int64_t rows_per_batch,
    Progress::Visible progress);

/// LongContextReports of rows of these lengths, made of the study's held-out `rows` as they pass;
/// null without lengths. Throws ConfigError for lengths that the study's model (or that there is
/// none) or the number of rows do not allow.
[[nodiscard]] std::unique_ptr<Measure> measure_long_contexts(const study::Study& study,
                                                             const std::vector<int64_t>& lengths,
                                                             const std::vector<int64_t>& rows,
                                                             const study::PassOptions& pass);

}  // namespace lorsa::eval
