#include "lm/linear.h"

#include <ATen/ATen.h>
#include <ATen/core/dispatch/Dispatcher.h>

#include <optional>
#include <string_view>
#include <utility>

namespace lorsa::lm {
namespace {

// LibTorch's products with packed weights have no C++ functions, only operators.

at::Tensor pack(const at::Tensor& weight) {
  static const auto op = c10::Dispatcher::singleton()
                             .findSchemaOrThrow("mkldnn::_reorder_linear_weight", "")
                             .typed<at::Tensor(const at::Tensor&, std::optional<int64_t>)>();
  return op.call(weight.contiguous(), std::nullopt);
}

at::Tensor packed_product(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
  static const auto op =
      c10::Dispatcher::singleton()
          .findSchemaOrThrow("mkldnn::_linear_pointwise", "")
          .typed<at::Tensor(const at::Tensor&, const at::Tensor&, const std::optional<at::Tensor>&,
                            std::string_view, c10::List<std::optional<at::Scalar>>,
                            std::optional<std::string_view>)>();
  return op.call(x, weight, bias.defined() ? std::optional(bias) : std::nullopt, "none",
                 c10::List<std::optional<at::Scalar>>(), "");
}

/// Packing fills the sides up to multiples of up to 64: a narrow matrix would grow by much.
constexpr int64_t kLeastSide = 64;

bool can_pack(const at::Tensor& weight) {
  return weight.is_cpu() && weight.scalar_type() == at::kFloat && at::hasMKLDNN() &&
         weight.size(0) >= kLeastSide && weight.size(1) >= kLeastSide;
}

}  // namespace

Linear::Linear(const at::Tensor& weight, at::Tensor bias)
    : bias_(std::move(bias)), packed_(can_pack(weight)) {
  weight_ = packed_ ? pack(weight) : weight;
}

at::Tensor Linear::operator()(const at::Tensor& x) const {
  if (packed_) {
    return packed_product(x, weight_, bias_);
  }
  return bias_.defined() ? at::linear(x, weight_, bias_) : at::linear(x, weight_);
}

void Linear::add_to_(at::Tensor& sum, const at::Tensor& x) const {
  if (packed_) {
    sum.add_(packed_product(x, weight_, bias_));
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
