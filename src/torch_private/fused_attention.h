#pragma once

#include <ATen/ATen.h>

#include <tuple>
#include <vector>

// LibTorch's causal attention kernels on CUDA, which give the log-sum-exp of the rows that
// at::scaled_dot_product_attention keeps for itself. Tensors are [B, S, T, width].
// Checked with LibTorch 2.11. If they go: the formula of kernels/device_attention.cpp.

namespace lorsa::torch_private {

enum class FusedAttention { kCudnn, kFlash, kEfficient };

struct FusedAttentionResult {
  at::Tensor z;
  std::vector<at::Tensor> saved;  ///< the log-sum-exp, then what the backward pass needs of it
};

inline FusedAttentionResult fused_attention(FusedAttention kernel,
                                            const at::Tensor& q,
                                            const at::Tensor& k,
                                            const at::Tensor& v,
                                            double scale) {
  const auto result = [](const auto& out) -> FusedAttentionResult {
    return {
        std::get<0>(out),
        {std::get<1>(out), std::get<2>(out), std::get<3>(out), std::get<6>(out), std::get<7>(out)}};
  };
  switch (kernel) {
    case FusedAttention::kCudnn:
      return result(at::_scaled_dot_product_cudnn_attention(
          q, k, v, {}, /*compute_log_sumexp=*/true, 0.0, /*is_causal=*/true, false, scale));
    case FusedAttention::kFlash:
      return result(
          at::_scaled_dot_product_flash_attention(q, k, v, 0.0, /*is_causal=*/true, false, scale));
    case FusedAttention::kEfficient:
      break;
  }
  const auto [z, lse, seed, offset] = at::_scaled_dot_product_efficient_attention(
      q, k, v, {}, /*compute_log_sumexp=*/true, 0.0, /*is_causal=*/true, scale);
  return {z, {lse, seed, offset}};
}

/// Gradients of q, k and v; `lse` stands for saved[0].
inline std::tuple<at::Tensor, at::Tensor, at::Tensor> fused_attention_backward(
    FusedAttention kernel,
    const at::Tensor& grad_z,
    const at::Tensor& q,
    const at::Tensor& k,
    const at::Tensor& v,
    const at::Tensor& z,
    const at::Tensor& lse,
    const std::vector<at::Tensor>& saved,
    double scale) {
  const int64_t T = q.size(2);
  switch (kernel) {
    case FusedAttention::kCudnn:
      return at::_scaled_dot_product_cudnn_attention_backward(
          grad_z, q, k, v, z, lse, saved.at(3), saved.at(4),
          /*attn_bias=*/{}, saved.at(1), saved.at(2), T, T, 0.0, /*is_causal=*/true, scale);
    case FusedAttention::kFlash:
      return at::_scaled_dot_product_flash_attention_backward(
          grad_z, q, k, v, z, lse, saved.at(1), saved.at(2), T, T, 0.0, /*is_causal=*/true,
          saved.at(3), saved.at(4), scale);
    case FusedAttention::kEfficient:
      break;
  }
  auto [d_q, d_k, d_v, unused] = at::_scaled_dot_product_efficient_attention_backward(
      grad_z, q, k, v, /*attn_bias=*/{}, z, lse, saved.at(1), saved.at(2), 0.0,
      {true, true, true, false}, /*is_causal=*/true, scale);
  return {d_q, d_k, d_v};
}

}  // namespace lorsa::torch_private
