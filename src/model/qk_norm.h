#pragma once

#include <ATen/core/Tensor.h>

#include <utility>

namespace lorsa::model {

/// Per-head RMS norm with gain, y = x / sqrt(mean(x^2) + eps) * gain, and its backward.
class QkNorm {
 public:
  /// x [B, T, S, E], gain [S, E]; keeps what backward() needs.
  [[nodiscard]] at::Tensor forward(const at::Tensor& x_BTSE, const at::Tensor& gain_SE, double eps);

  /// Gradient of x and of the gain for a gradient of y.
  [[nodiscard]] std::pair<at::Tensor, at::Tensor> backward(const at::Tensor& d_BTSE,
                                                           const at::Tensor& gain_SE) const;

 private:
  at::Tensor normalized_;   // x / rms
  at::Tensor inverse_rms_;  // [B, T, S, 1]
};

}  // namespace lorsa::model
