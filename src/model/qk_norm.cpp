#include "model/qk_norm.h"

#include <ATen/ATen.h>

namespace lorsa::model {

at::Tensor QkNorm::forward(const at::Tensor& x_BTSE, const at::Tensor& gain_SE, double eps) {
  inverse_rms_ = at::rsqrt(x_BTSE.square().mean(-1, /*keepdim=*/true) + eps);
  normalized_ = x_BTSE * inverse_rms_;
  return normalized_ * gain_SE;
}

std::pair<at::Tensor, at::Tensor> QkNorm::backward(const at::Tensor& d_BTSE,
                                                   const at::Tensor& gain_SE) const {
  const at::Tensor d_gain = (d_BTSE * normalized_).sum(at::IntArrayRef({0, 1}));
  // With n = x r, r = (mean(x^2) + eps)^-1/2: dn/dx = r (I - n n^T / E).
  const at::Tensor d_normalized = d_BTSE * gain_SE;
  const at::Tensor along = (d_normalized * normalized_).mean(-1, /*keepdim=*/true);
  return {inverse_rms_ * (d_normalized - normalized_ * along), d_gain};
}

}  // namespace lorsa::model
