#include "lm/linear.h"

#include <ATen/ATen.h>

#include <utility>

#include "torch_private/packed_linear.h"

namespace lorsa::lm {
namespace {

/// Packing fills the sides up to multiples of up to 64: a narrow matrix would grow by much.
constexpr int64_t kLeastSide = 64;

bool can_pack(const at::Tensor& weight) {
  return weight.is_cpu() && weight.scalar_type() == at::kFloat && at::hasMKLDNN() &&
         weight.size(0) >= kLeastSide && weight.size(1) >= kLeastSide;
}

}  // namespace

Linear::Linear(const at::Tensor& weight, at::Tensor bias)
    : bias_(std::move(bias)), packed_(can_pack(weight)) {
  weight_ = packed_ ? torch_private::pack_weight(weight) : weight;
}

at::Tensor Linear::operator()(const at::Tensor& x) const {
  if (packed_) {
    return torch_private::packed_linear(x, weight_, bias_);
  }
  return bias_.defined() ? at::linear(x, weight_, bias_) : at::linear(x, weight_);
}

void Linear::add_to_(at::Tensor& sum, const at::Tensor& x) const {
  if (packed_) {
    sum.add_(torch_private::packed_linear(x, weight_, bias_));
    return;
  }
  at::Tensor rows = sum.view({-1, weight_.size(0)});
  rows.addmm_(x.reshape({-1, weight_.size(1)}), weight_.t());
  if (bias_.defined()) {
    rows.add_(bias_);
  }
}

at::Tensor Linear::weight() const {
  return packed_ ? weight_.to_dense() : weight_;
}

}  // namespace lorsa::lm
