#include "kernels/device_attention.h"

#include <ATen/ATen.h>

#include <limits>
#include <optional>
#include <tuple>
#include <utility>

#include "kernels/shapes.h"
#include "torch_private/fused_attention.h"

namespace lorsa::kernels {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

using torch_private::FusedAttention;

/// What takes these widths, nothing: the formula; decided from shapes alone, so that the backward
/// pass decides alike.
std::optional<FusedAttention> kernel_for(const at::Tensor& q, const at::Tensor& v) {
  const int64_t E = q.size(3);
  const int64_t G = v.size(3);
  const int64_t widest = std::max(E, G);
  if (!q.is_cuda() || q.scalar_type() == at::kDouble ||
      !fits_fused_attention(E, G, static_cast<int64_t>(q.element_size()))) {
    return std::nullopt;
  }
  if (q.scalar_type() == at::kFloat) {
    return FusedAttention::kEfficient;
  }
  // cuDNN refuses single positions; short rows are no work for either.
  constexpr int64_t kLeastPositions = 64;
  if (widest <= 128 && q.size(1) >= kLeastPositions) {
    return FusedAttention::kCudnn;
  }
  return E == G && widest <= 256 ? FusedAttention::kFlash : FusedAttention::kEfficient;
}

// [B, T, S, W] -> [B, S, T, W], and back; views.
at::Tensor heads_first(const at::Tensor& x) {
  return x.transpose(1, 2);
}

AttentionResult result_of(const at::Tensor& z_BSTG,
                          const at::Tensor& lse,
                          std::vector<at::Tensor> saved) {
  const int64_t B = z_BSTG.size(0);
  const int64_t S = z_BSTG.size(1);
  const int64_t T = z_BSTG.size(2);
  AttentionResult result;
  result.z_PH = heads_first(z_BSTG).reshape({B * T, S * z_BSTG.size(3)});
  // The memory-efficient kernel rounds T up.
  result.lse_BST = lse.view({B, S, -1}).narrow(2, 0, T);
  result.saved = std::move(saved);
  return result;
}

/// The result's log-sum-exp, which virtual keys may have raised, as the kernel itself gave it.
at::Tensor kernel_lse(const AttentionResult& result) {
  const at::Tensor& own = result.saved.at(0);
  const at::Tensor& lse_BST = result.lse_BST;
  const int64_t positions = own.numel() / std::max<int64_t>(lse_BST.size(0) * lse_BST.size(1), 1);
  const int64_t missing = positions - lse_BST.size(2);
  const at::Tensor full =
      missing > 0 ? at::constant_pad_nd(lse_BST, {0, missing}, kInfinity) : lse_BST.contiguous();
  return full.view(own.sizes());
}

at::Tensor causal_scores(const at::Tensor& q, const at::Tensor& k, double attn_scale) {
  const at::Tensor scores =
      at::matmul(heads_first(q), heads_first(k).transpose(2, 3)).to(at::kFloat) / attn_scale;
  const int64_t t = q.size(1);
  const at::Tensor future = at::ones({t, t}, scores.options().dtype(at::kBool)).triu(1);
  return scores.masked_fill(future, -kInfinity);
}

AttentionResult formula_forward(const at::Tensor& q,
                                const at::Tensor& k,
                                const at::Tensor& v,
                                double attn_scale) {
  const at::Tensor scores = causal_scores(q, k, attn_scale);
  const at::Tensor lse = at::logsumexp(scores, -1);
  const at::Tensor weights = at::exp(scores - lse.unsqueeze(-1)).to(v.scalar_type());
  return result_of(at::matmul(weights, heads_first(v)), lse, {});
}

/// Gradients still heads first, as the kernels give them.
AttentionGradients formula_backward(const at::Tensor& q,
                                    const at::Tensor& k,
                                    const at::Tensor& v,
                                    const AttentionResult& result,
                                    const at::Tensor& d_z_BSTG,
                                    double attn_scale,
                                    GradientsOf gradients) {
  const at::Tensor weights =
      at::exp(causal_scores(q, k, attn_scale) - result.lse_BST.unsqueeze(-1));
  AttentionGradients out;
  out.grad_v_BTSG = at::matmul(weights.to(v.scalar_type()).transpose(2, 3), d_z_BSTG);
  if (gradients == GradientsOf::kValues) {
    return out;
  }
  const at::Tensor d_weights = at::matmul(d_z_BSTG, heads_first(v).transpose(2, 3)).to(at::kFloat);
  const at::Tensor dot = (weights * d_weights).sum(-1, /*keepdim=*/true);
  const at::Tensor d_scores = (weights * (d_weights - dot) / attn_scale).to(q.scalar_type());
  out.grad_q_BTSE = at::matmul(d_scores, heads_first(k));
  out.grad_k_BTSE = at::matmul(d_scores.transpose(2, 3), heads_first(q));
  return out;
}

}  // namespace

AttentionResult device_attention_forward(const at::Tensor& q_BTSE,
                                         const at::Tensor& k_BTSE,
                                         const at::Tensor& v_BTSG,
                                         double attn_scale) {
  if (const auto kernel = kernel_for(q_BTSE, v_BTSG)) {
    auto [z_BSTG, saved] = torch_private::fused_attention(
        *kernel, heads_first(q_BTSE), heads_first(k_BTSE), heads_first(v_BTSG), 1.0 / attn_scale);
    const at::Tensor lse = saved.at(0);
    return result_of(z_BSTG, lse, std::move(saved));
  }
  return formula_forward(q_BTSE, k_BTSE, v_BTSG, attn_scale);
}

AttentionGradients device_attention_backward(const at::Tensor& q_BTSE,
                                             const at::Tensor& k_BTSE,
                                             const at::Tensor& v_BTSG,
                                             const AttentionResult& result,
                                             const at::Tensor& grad_z_PH,
                                             double attn_scale,
                                             GradientsOf gradients) {
  const at::Tensor d_z = heads_first(grad_z_PH.view(v_BTSG.sizes()));
  AttentionGradients out;
  if (const auto kernel = kernel_for(q_BTSE, v_BTSG)) {
    std::tie(out.grad_q_BTSE, out.grad_k_BTSE, out.grad_v_BTSG) =
        torch_private::fused_attention_backward(*kernel, d_z, heads_first(q_BTSE),
                                                heads_first(k_BTSE), heads_first(v_BTSG),
                                                heads_first(result.z_PH.view(v_BTSG.sizes())),
                                                kernel_lse(result), result.saved, 1.0 / attn_scale);
  } else {
    out = formula_backward(q_BTSE, k_BTSE, v_BTSG, result, d_z, attn_scale, gradients);
  }
  for (at::Tensor* grad : {&out.grad_q_BTSE, &out.grad_k_BTSE, &out.grad_v_BTSG}) {
    if (grad->defined()) {  // views already where the kernel kept q's layout
      *grad = heads_first(*grad).contiguous();
    }
  }
  if (gradients == GradientsOf::kValues) {
    out.grad_q_BTSE.reset();
    out.grad_k_BTSE.reset();
  }
  return out;
}

}  // namespace lorsa::kernels
