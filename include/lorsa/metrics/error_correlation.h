#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "lorsa/core/api.h"

namespace lorsa::metrics {

/// How much the errors e = t - y of C reconstructions of the same targets have in common, over
/// every scored token that was added. Each [C, C] double on the CPU, symmetric. Ratios without a
/// denominator (no tokens, a reconstruction without error, norms that are all equal) are NaN.
struct ErrorCorrelationReport {
  int64_t num_tokens = 0;
  at::Tensor cosine_CC;  ///< mean over tokens of cos(e_a, e_b), 0 where one of them is 0
  at::Tensor squared_norm_correlation_CC;  ///< Pearson's, over tokens, of |e_a|^2 and |e_b|^2
  /// (sum e_a . e_b)^2 / (sum |e_a|^2 sum |e_b|^2): the share of a's squared error that the best
  /// multiple of b's error explains, and the other way round.
  at::Tensor explained_CC;
};

/// Accumulates the sums behind ErrorCorrelationReport in double; its memory grows with C^2 alone,
/// that of add() with the batch.
class LORSA_API ErrorCorrelationMeter {
 public:
  explicit ErrorCorrelationMeter(int64_t num_reconstructions);
  /// Each y and t [B, T, D] of a float dtype, scored [B, T] bool, all on one device. Values at
  /// other positions are never looked at. Throws ShapeError.
  void add(const std::vector<at::Tensor>& y_BTD,
           const at::Tensor& t_BTD,
           const at::Tensor& scored_BT);
  [[nodiscard]] ErrorCorrelationReport report() const;

 private:
  int64_t num_reconstructions_;
  int64_t num_tokens_ = 0;
  at::Tensor cosine_CC_;
  at::Tensor product_CC_;          // sum e_a . e_b; its diagonal is sum |e_a|^2
  at::Tensor shift_C_;             // the first batch's mean |e|^2; undefined until a token came
  at::Tensor shifted_C_;           // sum (|e_a|^2 - shift_a)
  at::Tensor shifted_product_CC_;  // sum (|e_a|^2 - shift_a) (|e_b|^2 - shift_b)
};

}  // namespace lorsa::metrics
