#pragma once

#include <ATen/core/Tensor.h>

#include "lorsa/kernels/attention.h"

// Virtual keys: n learned keys of every QK head that each query sees beside the keys of its
// sequence. Their values are zero, so they take attention away from the sequence and write nothing:
// a head need not attend to anything.
//
//   u_tn = q_t . k_n / attn_scale      z_t <- z_t exp(lse_t - lse'_t)      lse' = log(exp(lse) +
//   sum_n exp(u_tn))
//
// Queries meet them behind RoPE; the virtual keys have no position.

namespace lorsa::model {

/// Attention to the virtual keys, taken from an attention without them: scales z and raises the
/// log-sum-exp in place. virtual_k [n, S, E].
void add_virtual_keys(const at::Tensor& q_BTSE,
                      const at::Tensor& virtual_k_nSE,
                      double attn_scale,
                      kernels::AttentionResult& attention);

/// Gradient of the virtual keys [n, S, E]; the queries' own part of it is added to `grad_q_BTSE`.
/// dot_PS is the sum over a QK head's OV heads of (gradient of z) z.
[[nodiscard]] at::Tensor virtual_keys_backward(const at::Tensor& q_BTSE,
                                               const at::Tensor& virtual_k_nSE,
                                               double attn_scale,
                                               const kernels::AttentionResult& attention,
                                               const at::Tensor& dot_PS,
                                               at::Tensor& grad_q_BTSE);

}  // namespace lorsa::model
