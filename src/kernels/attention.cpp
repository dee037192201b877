#include "lorsa/kernels/attention.h"

#include <ATen/ATen.h>

#include <limits>

#include "kernels/attention_backward.h"
#include "kernels/grouped_attention.h"
#include "kernels/part_timer.h"
#include "lorsa/core/error.h"

namespace lorsa::kernels {
namespace {

struct Sizes {
  int64_t B, T, S, E, G;
};

Sizes check(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) {
  LORSA_CHECK(q.dim() == 4 && k.sizes() == q.sizes() && v.dim() == 4 &&
                  v.sizes().slice(0, 3) == q.sizes().slice(0, 3),
              ShapeError,
              "attention: expected q, k [B, T, S, E] and v [B, T, S, G], found ",
              q.sizes(),
              ", ",
              k.sizes(),
              ", ",
              v.sizes());
  LORSA_CHECK(q.scalar_type() == k.scalar_type() && q.scalar_type() == v.scalar_type(),
              ShapeError,
              "attention: q, k and v have different dtypes: ",
              q.scalar_type(),
              ", ",
              k.scalar_type(),
              ", ",
              v.scalar_type());
  return {q.size(0), q.size(1), q.size(2), q.size(3), v.size(3)};
}

// [B, T, S, W] -> [B, S, T, W]
at::Tensor heads_first(const at::Tensor& x) {
  return x.transpose(1, 2);
}

at::Tensor causal_scores(const at::Tensor& q, const at::Tensor& k, double attn_scale) {
  const at::Tensor scores =
      at::matmul(heads_first(q), heads_first(k).transpose(2, 3)).to(at::kFloat) / attn_scale;
  const int64_t t = q.size(1);
  const at::Tensor future = at::ones({t, t}, scores.options().dtype(at::kBool)).triu(1);
  return scores.masked_fill(future, -std::numeric_limits<double>::infinity());
}

// Devices without a kernel of the project: the formula in LibTorch's operators.
AttentionResult forward_aten(const at::Tensor& q,
                             const at::Tensor& k,
                             const at::Tensor& v,
                             double attn_scale) {
  const at::Tensor scores = causal_scores(q, k, attn_scale);
  const at::Tensor lse = at::logsumexp(scores, -1);
  const at::Tensor weights = at::exp(scores - lse.unsqueeze(-1)).to(v.scalar_type());
  const at::Tensor z = at::matmul(weights, heads_first(v));
  return {heads_first(z).reshape({q.size(0) * q.size(1), q.size(2) * v.size(3)}), lse};
}

AttentionGradients backward_aten(const at::Tensor& q,
                                 const at::Tensor& k,
                                 const at::Tensor& v,
                                 const AttentionResult& result,
                                 const at::Tensor& grad_z_PH,
                                 double attn_scale,
                                 GradientsOf gradients) {
  const at::Tensor weights =
      at::exp(causal_scores(q, k, attn_scale) - result.lse_BST.unsqueeze(-1));
  const at::Tensor d_z = heads_first(grad_z_PH.view({q.size(0), q.size(1), q.size(2), v.size(3)}));
  AttentionGradients out;
  out.grad_v_BTSG =
      heads_first(at::matmul(weights.to(v.scalar_type()).transpose(2, 3), d_z)).contiguous();
  if (gradients == GradientsOf::kValues) {
    return out;
  }
  const at::Tensor d_weights = at::matmul(d_z, heads_first(v).transpose(2, 3)).to(at::kFloat);
  const at::Tensor dot = (weights * d_weights).sum(-1, /*keepdim=*/true);
  const at::Tensor d_scores = (weights * (d_weights - dot) / attn_scale).to(q.scalar_type());
  out.grad_q_BTSE = heads_first(at::matmul(d_scores, heads_first(k))).contiguous();
  out.grad_k_BTSE = heads_first(at::matmul(d_scores.transpose(2, 3), heads_first(q))).contiguous();
  return out;
}

}  // namespace

AttentionResult attention_forward(const at::Tensor& q_BTSE,
                                  const at::Tensor& k_BTSE,
                                  const at::Tensor& v_BTSG,
                                  double attn_scale) {
  const PartTimer timer(Part::kAttentionForward);
  const Sizes n = check(q_BTSE, k_BTSE, v_BTSG);
  if (!q_BTSE.is_cpu()) {
    return forward_aten(q_BTSE, k_BTSE, v_BTSG, attn_scale);
  }
  at::Tensor z = at::empty({n.B, n.T, n.S, n.G}, q_BTSE.options());
  at::Tensor lse = at::empty({n.B, n.S, n.T}, q_BTSE.options());
  LORSA_CHECK(q_BTSE.scalar_type() == at::kFloat || q_BTSE.scalar_type() == at::kDouble,
              ShapeError,
              "attention on the CPU: expected float32 or float64, found ",
              q_BTSE.scalar_type());
  grouped_attention_cpu(q_BTSE, k_BTSE, v_BTSG, 1.0 / attn_scale, z, lse);
  return {z.view({n.B * n.T, n.S * n.G}), lse};
}

AttentionGradients attention_backward(const at::Tensor& q_BTSE,
                                      const at::Tensor& k_BTSE,
                                      const at::Tensor& v_BTSG,
                                      const AttentionResult& result,
                                      const at::Tensor& grad_PK,
                                      const at::Tensor& head_PK,
                                      double attn_scale,
                                      GradientsOf gradients) {
  const PartTimer timer(Part::kAttentionBackward);
  const Sizes n = check(q_BTSE, k_BTSE, v_BTSG);
  LORSA_CHECK(
      grad_PK.sizes() == head_PK.sizes() && grad_PK.dim() == 2 && grad_PK.size(0) == n.B * n.T,
      ShapeError,
      "attention_backward: expected grad and head [",
      n.B * n.T,
      ", K], found ",
      grad_PK.sizes(),
      " and ",
      head_PK.sizes());
  if (!q_BTSE.is_cpu()) {
    const at::Tensor grad_z_PH =
        at::zeros_like(result.z_PH)
            .scatter_(1, head_PK.to(at::kLong), grad_PK.to(result.z_PH.scalar_type()));
    return backward_aten(q_BTSE, k_BTSE, v_BTSG, result, grad_z_PH, attn_scale, gradients);
  }
  const at::Tensor q = q_BTSE.contiguous();
  const at::Tensor k = k_BTSE.contiguous();
  const at::Tensor v = v_BTSG.contiguous();
  return attention_backward_cpu(
      {q, k, v, result, 1.0 / attn_scale, gradients}, grad_PK.contiguous(), head_PK.contiguous());
}

AttentionGradients attention_backward_dense(const at::Tensor& q_BTSE,
                                            const at::Tensor& k_BTSE,
                                            const at::Tensor& v_BTSG,
                                            const AttentionResult& result,
                                            const at::Tensor& grad_z_PH,
                                            double attn_scale,
                                            GradientsOf gradients) {
  const PartTimer timer(Part::kAttentionBackward);
  check(q_BTSE, k_BTSE, v_BTSG);
  LORSA_CHECK(grad_z_PH.sizes() == result.z_PH.sizes() &&
                  grad_z_PH.scalar_type() == result.z_PH.scalar_type(),
              ShapeError,
              "attention_backward_dense: expected a gradient of z ",
              result.z_PH.sizes(),
              ", ",
              result.z_PH.scalar_type(),
              ", found ",
              grad_z_PH.sizes(),
              ", ",
              grad_z_PH.scalar_type());
  const at::Tensor grad_z = grad_z_PH.contiguous();
  if (!q_BTSE.is_cpu()) {
    return backward_aten(q_BTSE, k_BTSE, v_BTSG, result, grad_z, attn_scale, gradients);
  }
  const at::Tensor q = q_BTSE.contiguous();
  const at::Tensor k = k_BTSE.contiguous();
  const at::Tensor v = v_BTSG.contiguous();
  return attention_backward_dense_cpu({q, k, v, result, 1.0 / attn_scale, gradients}, grad_z);
}

}  // namespace lorsa::kernels
