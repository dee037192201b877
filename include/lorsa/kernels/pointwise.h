#pragma once

#include <ATen/core/Tensor.h>

#include "lorsa/core/api.h"

namespace lorsa::kernels {

/// y = x / rms(x) * gain over the last dimension, rms(x) = sqrt(mean(x^2) + eps) (Zhang and
/// Sennrich 2019).
///
/// x [.., D] float32, float64 or bfloat16 (then computed in float32 and rounded before the gain, as
/// Hugging Face models do); gain [D] of the same dtype. Where `unit` is not null it receives
/// x / rms(x). No gradient.
[[nodiscard]] LORSA_API at::Tensor rms_norm(const at::Tensor& x,
                                            const at::Tensor& gain,
                                            double eps,
                                            at::Tensor* unit = nullptr);

/// gate = silu(gate) * up, in place: silu(g) = g / (1 + exp(-g)). Both of one shape and dtype. No
/// gradient.
LORSA_API void silu_mul_(at::Tensor& gate, const at::Tensor& up);

}  // namespace lorsa::kernels
