#pragma once

#include <ATen/core/Tensor.h>

namespace lorsa::kernels {

/// Causal softmax attention on the CPU: z[b,t,n] = sum_j softmax(scale q.k)_tj v[b,j,n / (N / M)].
///
/// q [B, T, N, E], k [B, T, M, E], v [B, T, M, G], N a multiple of M, all float32 or float64 with
/// contiguous last dimensions; q and z also over their last two. Fills z [B, T, N, G] and, if
/// defined, lse [B, N, T], the log-sum-exp of every row.
void grouped_attention_cpu(const at::Tensor& q_BTNE,
                           const at::Tensor& k_BTME,
                           const at::Tensor& v_BTMG,
                           double scale,
                           const at::Tensor& z_BTNG,
                           const at::Tensor& lse_BNT);

}  // namespace lorsa::kernels
