#pragma once

#include "lorsa/kernels/attention.h"

// Attention on devices other than the CPU: LibTorch's fused kernels where they take the shape, else
// the formula in LibTorch's operators. Arguments are checked.
//
//   bfloat16  cuDNN for widths of up to 128; above, flash attention where E = G, up to 256
//   float32   the memory-efficient kernel, and for bfloat16 widths that neither takes
//   else      the formula, which keeps [B, S, T, T] scores

namespace lorsa::kernels {

[[nodiscard]] AttentionResult device_attention_forward(const at::Tensor& q_BTSE,
                                                       const at::Tensor& k_BTSE,
                                                       const at::Tensor& v_BTSG,
                                                       double attn_scale);

/// For a gradient of z that may be non-zero anywhere.
[[nodiscard]] AttentionGradients device_attention_backward(const at::Tensor& q_BTSE,
                                                           const at::Tensor& k_BTSE,
                                                           const at::Tensor& v_BTSG,
                                                           const AttentionResult& result,
                                                           const at::Tensor& grad_z_PH,
                                                           double attn_scale,
                                                           GradientsOf gradients);

}  // namespace lorsa::kernels
