#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <vector>

#include "lorsa/eval/evaluate.h"

namespace lorsa::eval {

/// Logits [n, V] at n positions of a row, given as int64 [n].
using LogitsAt = std::function<at::Tensor(const at::Tensor& position_n)>;

/// A row's logits of the untouched model, with the site's output ablated in two ways, and replaced
/// by each of several dictionaries.
struct RowLogits {
  LogitsAt original;
  LogitsAt zero_ablated;
  LogitsAt mean_ablated;  ///< null: not measured, NaN in the report
  std::vector<LogitsAt> replaced;
};

/// Accumulates LanguageReports from logits, in double. Of two kinds of logits one piece
/// (NextTokens) is held at a time, however long the row and large the vocabulary.
class PredictionMeter {
 public:
  explicit PredictionMeter(size_t num_dictionaries) : replaced_(num_dictionaries) {}

  /// tokens [T] int32 or int64; scored [T] bool, on the logits' device as the positions that
  /// `logits` are asked for.
  void add_row(const at::Tensor& tokens_T, const at::Tensor& scored_T, const RowLogits& logits);
  /// One for each dictionary. Without any prediction all but their number are NaN.
  [[nodiscard]] std::vector<LanguageReport> reports() const;

 private:
  void add_positions(const at::Tensor& position_n,
                     const at::Tensor& next_n,
                     const RowLogits& logits);

  struct Replaced {
    double cross_entropy = 0.0;
    double kl = 0.0;
  };

  int64_t num_predictions_ = 0;
  double original_ = 0.0;
  double zero_ = 0.0;
  double mean_ = 0.0;
  std::vector<Replaced> replaced_;
};

}  // namespace lorsa::eval
