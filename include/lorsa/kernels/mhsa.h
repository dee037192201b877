#pragma once

#include <ATen/core/Tensor.h>

#include "lorsa/core/api.h"
#include "lorsa/kernels/rope.h"

namespace lorsa::kernels {

/// The weights of one multi-head self-attention layer with the preceding norm's gain folded in, so
/// that mhsa_forward(layer, cached input) is the cached target.
///
/// Shapes  W_Q [N, D, A], W_K and W_V [Nkv, D, A], W_O [N, A, D]; b_Q [N, A], b_K and b_V [Nkv, A],
/// b_O [D] or undefined;
///         q_norm and k_norm [A] (RMS gains of Qwen3) or undefined. N is a multiple of Nkv: query
///         head n reads key head n / (N / Nkv).
struct LORSA_API Mhsa {
  at::Tensor W_Q, W_K, W_V, W_O;
  at::Tensor b_Q, b_K, b_V, b_O;
  at::Tensor q_norm, k_norm;
  double qk_norm_eps = 1e-6;
  double attn_scale = 1.0;  ///< a divisor of q.k
  RopeSpec rope;

  [[nodiscard]] int64_t num_heads() const { return W_Q.size(0); }

  [[nodiscard]] int64_t num_kv_heads() const { return W_K.size(0); }

  [[nodiscard]] int64_t d_model() const { return W_Q.size(1); }

  [[nodiscard]] int64_t head_width() const { return W_Q.size(2); }

  /// All tensors moved to a device and dtype.
  [[nodiscard]] Mhsa to(c10::Device device, at::ScalarType dtype) const;
};

/// Causal softmax attention with grouped key heads, [B, T, N, A]: query head n reads key head
/// n / (N / Nkv).
///
/// q [B, T, N, A], contiguous over its last two dimensions; k, v [B, T, Nkv, A], over the last.
/// attn_scale is a divisor. Memory grows with T, not with T^2, wherever LibTorch has a fused
/// kernel.
[[nodiscard]] LORSA_API at::Tensor causal_attention(const at::Tensor& q_BTNA,
                                                    const at::Tensor& k_BTMA,
                                                    const at::Tensor& v_BTMA,
                                                    double attn_scale);

/// Causal attention of `layer` on x [B, T, D]: the layer's output before the residual add, [B, T,
/// D]. x has the weights' dtype and device. Throws ShapeError where shapes, dtypes or devices
/// differ.
[[nodiscard]] LORSA_API at::Tensor mhsa_forward(const Mhsa& layer, const at::Tensor& x_BTD);

/// Attention patterns of the N heads, [B, N, T, T], rows sum to 1. For analyses: memory grows with
/// T^2.
[[nodiscard]] LORSA_API at::Tensor mhsa_patterns(const Mhsa& layer, const at::Tensor& x_BTD);

}  // namespace lorsa::kernels
