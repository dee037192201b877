#include "model/virtual_keys.h"

#include <ATen/ATen.h>

namespace lorsa::model {
namespace {

/// [B, T, S, W] -> [S, B*T, W]
at::Tensor heads_first(const at::Tensor& x_BTSW) {
  return x_BTSW.flatten(0, 1).transpose(0, 1);
}

at::Tensor scores(const at::Tensor& q_BTSE, const at::Tensor& virtual_k_nSE, double attn_scale) {
  const at::Tensor q = heads_first(q_BTSE).to(virtual_k_nSE.scalar_type());
  return at::bmm(q, virtual_k_nSE.permute({1, 2, 0})) / attn_scale;  // [S, P, n]
}

/// [B, S, T] -> [S, B*T]
at::Tensor rows_SP(const at::Tensor& lse_BST) {
  return lse_BST.transpose(0, 1).flatten(1, 2);
}

}  // namespace

void add_virtual_keys(const at::Tensor& q_BTSE,
                      const at::Tensor& virtual_k_nSE,
                      double attn_scale,
                      kernels::AttentionResult& attention) {
  const int64_t B = q_BTSE.size(0);
  const int64_t T = q_BTSE.size(1);
  const int64_t S = q_BTSE.size(2);
  const at::Tensor virtual_lse_SP =
      at::logsumexp(scores(q_BTSE, virtual_k_nSE, attn_scale), at::IntArrayRef{2});
  const at::Tensor virtual_lse_BST = virtual_lse_SP.view({S, B, T}).transpose(0, 1);
  const at::Tensor lse_BST = at::logaddexp(attention.lse_BST, virtual_lse_BST).contiguous();
  const at::Tensor share_BTS1 = at::exp(attention.lse_BST - lse_BST).transpose(1, 2).unsqueeze(-1);
  attention.z_PH.view({B, T, S, -1}).mul_(share_BTS1);
  attention.lse_BST = lse_BST;
}

at::Tensor virtual_keys_backward(const at::Tensor& q_BTSE,
                                 const at::Tensor& virtual_k_nSE,
                                 double attn_scale,
                                 const kernels::AttentionResult& attention,
                                 const at::Tensor& dot_PS,
                                 at::Tensor& grad_q_BTSE) {
  const at::Tensor weight_SPn =
      at::exp(scores(q_BTSE, virtual_k_nSE, attn_scale) - rows_SP(attention.lse_BST).unsqueeze(-1));
  // Softmax backward with a zero gradient of the weight itself, for the values are zero.
  const at::Tensor d_score_SPn = weight_SPn * dot_PS.t().unsqueeze(-1) * (-1.0 / attn_scale);
  heads_first(grad_q_BTSE).add_(at::bmm(d_score_SPn, virtual_k_nSE.transpose(0, 1)));
  const at::Tensor q = heads_first(q_BTSE).to(virtual_k_nSE.scalar_type());
  return at::bmm(d_score_SPn.transpose(1, 2), q).transpose(0, 1).contiguous();
}

}  // namespace lorsa::model
