#include "kernels/device_attention.h"

#include <ATen/ATen.h>

#include <limits>

namespace lorsa::kernels {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

enum class Kernel { kCudnn, kFlash, kEfficient, kFormula };

/// What takes these widths; decided from shapes alone, so that the backward pass decides alike.
Kernel kernel_for(const at::Tensor& q, const at::Tensor& v) {
  const int64_t E = q.size(3);
  const int64_t G = v.size(3);
  const int64_t widest = std::max(E, G);
  // 16-byte rows.
  const int64_t step = 16 / static_cast<int64_t>(q.element_size());
  if (!q.is_cuda() || q.scalar_type() == at::kDouble || E % step != 0 || G % step != 0) {
    return Kernel::kFormula;
  }
  if (q.scalar_type() == at::kFloat) {
    return Kernel::kEfficient;
  }
  // cuDNN refuses single positions; short rows are no work for either.
  constexpr int64_t kLeastPositions = 64;
  if (widest <= 128 && q.size(1) >= kLeastPositions) {
    return Kernel::kCudnn;
  }
  return E == G && widest <= 256 ? Kernel::kFlash : Kernel::kEfficient;
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
  const at::Tensor q = heads_first(q_BTSE);
  const at::Tensor k = heads_first(k_BTSE);
  const at::Tensor v = heads_first(v_BTSG);
  const double scale = 1.0 / attn_scale;
  switch (kernel_for(q_BTSE, v_BTSG)) {
    case Kernel::kCudnn: {
      const auto out = at::_scaled_dot_product_cudnn_attention(
          q, k, v, {}, /*compute_log_sumexp=*/true, 0.0, /*is_causal=*/true, false, scale);
      const at::Tensor& lse = std::get<1>(out);
      return result_of(
          std::get<0>(out), lse,
          {lse, std::get<2>(out), std::get<3>(out), std::get<6>(out), std::get<7>(out)});
    }
    case Kernel::kFlash: {
      const auto out =
          at::_scaled_dot_product_flash_attention(q, k, v, 0.0, /*is_causal=*/true, false, scale);
      const at::Tensor& lse = std::get<1>(out);
      return result_of(
          std::get<0>(out), lse,
          {lse, std::get<2>(out), std::get<3>(out), std::get<6>(out), std::get<7>(out)});
    }
    case Kernel::kEfficient: {
      const auto [z, lse, seed, offset] = at::_scaled_dot_product_efficient_attention(
          q, k, v, {}, /*compute_log_sumexp=*/true, 0.0, /*is_causal=*/true, scale);
      return result_of(z, lse, {lse, seed, offset});
    }
    case Kernel::kFormula:
      break;
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
  const at::Tensor q = heads_first(q_BTSE);
  const at::Tensor k = heads_first(k_BTSE);
  const at::Tensor v = heads_first(v_BTSG);
  const at::Tensor z = heads_first(result.z_PH.view(v_BTSG.sizes()));
  const at::Tensor d_z = heads_first(grad_z_PH.view(v_BTSG.sizes()));
  const int64_t T = q_BTSE.size(1);
  const double scale = 1.0 / attn_scale;
  const std::vector<at::Tensor>& saved = result.saved;
  AttentionGradients out;
  switch (kernel_for(q_BTSE, v_BTSG)) {
    case Kernel::kCudnn:
      std::tie(out.grad_q_BTSE, out.grad_k_BTSE, out.grad_v_BTSG) =
          at::_scaled_dot_product_cudnn_attention_backward(
              d_z, q, k, v, z, kernel_lse(result), saved.at(3), saved.at(4),
              /*attn_bias=*/{}, saved.at(1), saved.at(2), T, T, 0.0,
              /*is_causal=*/true, scale);
      break;
    case Kernel::kFlash:
      std::tie(out.grad_q_BTSE, out.grad_k_BTSE, out.grad_v_BTSG) =
          at::_scaled_dot_product_flash_attention_backward(
              d_z, q, k, v, z, kernel_lse(result), saved.at(1), saved.at(2), T, T, 0.0,
              /*is_causal=*/true, saved.at(3), saved.at(4), scale);
      break;
    case Kernel::kEfficient:
      std::tie(out.grad_q_BTSE, out.grad_k_BTSE, out.grad_v_BTSG, std::ignore) =
          at::_scaled_dot_product_efficient_attention_backward(
              d_z, q, k, v,
              /*attn_bias=*/{}, z, kernel_lse(result), saved.at(1), saved.at(2), 0.0,
              {true, true, true, false},
              /*is_causal=*/true, scale);
      break;
    case Kernel::kFormula:
      out = formula_backward(q_BTSE, k_BTSE, v_BTSG, result, d_z, attn_scale, gradients);
      break;
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
