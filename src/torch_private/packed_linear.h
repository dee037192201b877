#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/core/dispatch/Dispatcher.h>

#include <optional>
#include <string_view>

// LibTorch's products with packed weights have no C++ functions, only operators of oneDNN.
// Checked with LibTorch 2.11. If they go: at::linear with the weight as it is.

namespace lorsa::torch_private {

/// A float32 weight [out, in] in the order in which oneDNN's product reads it; to_dense() gives it
/// back.
inline at::Tensor pack_weight(const at::Tensor& weight) {
  static const auto op = c10::Dispatcher::singleton()
                             .findSchemaOrThrow("mkldnn::_reorder_linear_weight", "")
                             .typed<at::Tensor(const at::Tensor&, std::optional<int64_t>)>();
  return op.call(weight.contiguous(), std::nullopt);
}

/// x weight^T + bias with the weight of pack_weight(); `bias` may be undefined.
inline at::Tensor packed_linear(const at::Tensor& x,
                                const at::Tensor& packed,
                                const at::Tensor& bias) {
  static const auto op =
      c10::Dispatcher::singleton()
          .findSchemaOrThrow("mkldnn::_linear_pointwise", "")
          .typed<at::Tensor(const at::Tensor&, const at::Tensor&, const std::optional<at::Tensor>&,
                            std::string_view, c10::List<std::optional<at::Scalar>>,
                            std::optional<std::string_view>)>();
  return op.call(x, packed, bias.defined() ? std::optional(bias) : std::nullopt, "none",
                 c10::List<std::optional<at::Scalar>>(), "");
}

}  // namespace lorsa::torch_private
