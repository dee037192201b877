#include "model/qk_norm.h"

#include <ATen/ATen.h>

namespace lorsa::model {

at::Tensor QkNorm::forward(const at::Tensor& x_BTSE, const at::Tensor& gain_SE, double eps) {
  const at::Tensor x = x_BTSE.to(gain_SE.scalar_type());
  inverse_rms_ = at::rsqrt(x.square().mean(-1, /*keepdim=*/true) + eps);
  normalized_ = x * inverse_rms_;
  return (normalized_ * gain_SE).to(x_BTSE.scalar_type());
}

std::pair<at::Tensor, at::Tensor> QkNorm::backward(const at::Tensor& d_BTSE,
                                                   const at::Tensor& gain_SE) const {
  const at::Tensor d = d_BTSE.to(gain_SE.scalar_type());
  const at::Tensor d_gain = (d * normalized_).sum(at::IntArrayRef({0, 1}));
  // With n = x r, r = (mean(x^2) + eps)^-1/2: dn/dx = r (I - n n^T / E).
  const at::Tensor d_normalized = d * gain_SE;
  const at::Tensor along = (d_normalized * normalized_).mean(-1, /*keepdim=*/true);
  return {(inverse_rms_ * (d_normalized - normalized_ * along)).to(d_BTSE.scalar_type()), d_gain};
}

}  // namespace lorsa::model
