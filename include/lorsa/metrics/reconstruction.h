#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace lorsa::metrics {

/// How well y reconstructs t, over every scored token that was added (design section 8). Sums in
/// double.
struct ReconstructionReport {
  int64_t num_tokens = 0;
  double fvu = 0.0;  ///< sum |t - y|^2 / sum |t - mean t|^2, the mean taken per dimension over the
                     ///< same tokens
  double explained_variance = 0.0;  ///< 1 - fvu
  double mse = 0.0;                 ///< sum |t - y|^2 / (tokens * D)
  double l2_error_ratio = 0.0;      ///< mean over tokens of |t - y| / |t|
  double cosine = 0.0;              ///< mean over tokens of cos(t, y)
  at::Tensor fvu_per_position;      ///< [T] double: the same ratio with both sums taken at one
                                    ///< position; NaN where nothing was scored
};

/// Accumulates the sums behind ReconstructionReport batch by batch.
class ReconstructionMeter {
 public:
  ReconstructionMeter(int64_t context_length, int64_t d_model);
  /// y, t [B, T, D] of any float dtype, scored [B, T] bool. Throws ShapeError.
  void add(const at::Tensor& y_BTD, const at::Tensor& t_BTD, const at::Tensor& scored_BT);
  [[nodiscard]] ReconstructionReport report() const;

 private:
  int64_t num_tokens_ = 0;
  double ratio_sum_ = 0.0;
  double cosine_sum_ = 0.0;
  at::Tensor error_T_;          // [T] sum |t - y|^2
  at::Tensor count_T_;          // [T]
  at::Tensor target_sum_TD_;    // [T, D]
  at::Tensor target_square_T_;  // [T]
};

}  // namespace lorsa::metrics
