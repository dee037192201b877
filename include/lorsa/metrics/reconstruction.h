#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "lorsa/core/api.h"

namespace lorsa::metrics {

/// How well y reconstructs t, over every scored token that was added. Sums in
/// double. Ratios without a denominator (no tokens, all targets equal) are NaN or infinite.
struct ReconstructionReport {
  int64_t num_tokens = 0;
  double fvu = 0.0;  ///< sum |t - y|^2 / sum |t - mean t|^2, the mean taken per dimension over the
                     ///< same tokens
  double explained_variance = 0.0;  ///< 1 - fvu
  double mse = 0.0;                 ///< sum |t - y|^2 / (tokens * D)
  double l2_error_ratio = 0.0;      ///< mean over tokens with t != 0 of |t - y| / |t|
  double cosine = 0.0;              ///< mean over tokens of cos(t, y), 0 where t or y is 0
  at::Tensor fvu_per_position;      ///< [T] double on the CPU: the same ratio with sums and mean
                                    ///< taken at one position; NaN with fewer than two tokens
};

/// Accumulates the sums behind ReconstructionReport batch by batch, on the device of the batches.
/// Values at positions that are not scored are never looked at, NaN included.
class LORSA_API ReconstructionMeter {
 public:
  ReconstructionMeter(int64_t context_length, int64_t d_model);
  /// y, t [B, T, D] of any float dtype, scored [B, T] bool, all on one device. Throws ShapeError.
  void add(const at::Tensor& y_BTD, const at::Tensor& t_BTD, const at::Tensor& scored_BT);
  [[nodiscard]] ReconstructionReport report() const;
  /// fvu over the scored tokens at positions first .. first+count-1, the mean taken over these.
  /// Throws ShapeError for positions outside the context.
  [[nodiscard]] double fvu_of_positions(int64_t first, int64_t count) const;

 private:
  void add_block(const at::Tensor& y_BTD,
                 const at::Tensor& t_BTD,
                 const at::Tensor& scored_BT,
                 int64_t first_position);

  int64_t context_length_;
  int64_t d_model_;
  at::Tensor totals_;            // [3] sums over tokens: |t - y| / |t|, tokens in that sum, cosine
  at::Tensor shift_D_;           // the first batch's mean target; undefined until a token came
  at::Tensor count_T_;           // [T]
  at::Tensor error_T_;           // [T] sum |t - y|^2
  at::Tensor shifted_square_T_;  // [T] sum |t - shift|^2
  at::Tensor shifted_sum_TD_;    // [T, D] sum (t - shift)
};

}  // namespace lorsa::metrics
