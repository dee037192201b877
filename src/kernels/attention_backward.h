#pragma once

#include <ATen/core/Tensor.h>

#include "lorsa/kernels/attention.h"

namespace lorsa::kernels {

/// What both CPU backward passes read; shapes as in lorsa/kernels/attention.h, rows contiguous.
struct AttentionBackwardInput {
  const at::Tensor& q_BTSE;
  const at::Tensor& k_BTSE;
  const at::Tensor& v_BTSG;
  const AttentionResult& result;
  double scale;  ///< multiplies q.k
  const AttentionBackwardOptions& options;
};

/// The gradient of z is grad_PK at head_PK and 0 elsewhere.
[[nodiscard]] AttentionGradients attention_backward_cpu(const AttentionBackwardInput& in,
                                                        const at::Tensor& grad_PK,
                                                        const at::Tensor& head_PK);

/// The gradient of z is grad_z_PH.
[[nodiscard]] AttentionGradients attention_backward_dense_cpu(const AttentionBackwardInput& in,
                                                              const at::Tensor& grad_z_PH);

}  // namespace lorsa::kernels
