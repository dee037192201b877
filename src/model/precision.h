#pragma once

#include <ATen/core/Tensor.h>

#include "lorsa/model/lorsa.h"

// bfloat16 compute with float32 master weights: what enters a matrix product is rounded to
// bfloat16, sums stay in float32. Here the rounded values are kept in float32, on every device: the
// step's numbers are those of bfloat16 products, its speed is not.

namespace lorsa::model {

/// `tensor` rounded to bfloat16, in its own dtype; undefined stays undefined.
[[nodiscard]] at::Tensor rounded(const at::Tensor& tensor);

/// The weights as products read them: W_Q, W_K, W_V, W_O and virtual keys rounded, biases, gains
/// and thresholds as they are.
[[nodiscard]] LorsaWeights rounded(const LorsaWeights& weights);

}  // namespace lorsa::model
