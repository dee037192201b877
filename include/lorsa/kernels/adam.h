#pragma once

#include <ATen/core/Tensor.h>

#include "lorsa/core/api.h"
#include "lorsa/kernels/types.h"

namespace lorsa::kernels {

/// One Adam step (Kingma and Ba 2015), fused: parameter and both moments are read and written once.
/// hyper.kind says whether elements without gradient are stepped too. All tensors float32 or
/// float64, contiguous, of one shape. Bitwise the same for every thread count.
///
/// `bfloat16_copy`, where defined, has the same shape in bfloat16 and receives the rounded
/// parameter: what CUDA training multiplies with.
LORSA_API void adam_step_(at::Tensor& parameter,
                          const at::Tensor& gradient,
                          at::Tensor& first_moment,
                          at::Tensor& second_moment,
                          const AdamHyper& hyper,
                          const at::Tensor& bfloat16_copy = {});

/// Sum of squares of a contiguous float32 or float64 tensor, float64 [] on its device, the same
/// bits for every thread count.
[[nodiscard]] LORSA_API at::Tensor squared_norm(const at::Tensor& tensor);

}  // namespace lorsa::kernels
