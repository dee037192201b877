#include "model/projections.h"

#include <ATen/ATen.h>

#include <tuple>

#include "kernels/product.h"
#include "lorsa/core/error.h"
#include "model/virtual_keys.h"

namespace lorsa::model {

namespace {

void check_input(const DictionaryShape& shape,
                 const DictionaryWeights& w,
                 const at::Tensor& x_BTD) {
  LORSA_CHECK(x_BTD.dim() == 3 && x_BTD.size(2) == shape.d_model, ShapeError,
              "Lorsa: expected input [B, T, {}], found {}", shape.d_model, x_BTD.sizes());
  LORSA_CHECK(x_BTD.scalar_type() == w.W_V.scalar_type(), ShapeError,
              "Lorsa: input is {}, weights are {}", x_BTD.scalar_type(), w.W_V.scalar_type());
}

}  // namespace

Projections project_qk(const DictionaryShape& shape,
                       const DictionaryWeights& w,
                       const at::Tensor& x_BTD) {
  check_input(shape, w, x_BTD);
  const int64_t B = x_BTD.size(0);
  const int64_t T = x_BTD.size(1);
  Projections p;
  p.x_PD = x_BTD.reshape({B * T, shape.d_model});
  p.rope = kernels::rope_table(shape.rope, T, w.b_Q.scalar_type(), x_BTD.device());
  const auto heads = [&](const at::Tensor& weight, const at::Tensor& bias, const at::Tensor& gain,
                         QkNorm& norm) {
    const bool turns = shape.rope.rotary_dim > 0;
    const at::Tensor bias_N = bias.view({-1});
    if (turns && !gain.defined()) {
      return kernels::product_nt_rotated(p.x_PD, weight, bias_N, T, shape.d_qk, shape.rope, p.rope)
          .unflatten(0, {B, T});
    }
    at::Tensor out =
        kernels::product_nt_heads(p.x_PD, weight, bias_N, shape.d_qk).unflatten(0, {B, T});
    if (gain.defined()) {
      out = norm.forward(out, gain, shape.qk_norm_eps);
    }
    if (turns) {
      kernels::apply_rope_(out, shape.rope, p.rope, kernels::RopeDirection::kForward);
    }
    return out;
  };
  p.q_BTSE = heads(w.W_Q, w.b_Q, w.q_norm, p.q_norm);
  p.k_BTSE = heads(w.W_K, w.b_K, w.k_norm, p.k_norm);
  return p;
}

Projections project(const DictionaryShape& shape,
                    const DictionaryWeights& w,
                    const at::Tensor& x_BTD) {
  Projections p;
  if (shape.num_qk_heads > 0) {
    p = project_qk(shape, w, x_BTD);
    p.v_BTSG = kernels::product_nt_heads(p.x_PD, w.W_V, w.b_V, shape.group());
  } else {
    check_input(shape, w, x_BTD);
    p.x_PD = x_BTD.reshape({-1, shape.d_model});
    p.v_BTSG = kernels::product_nt(p.x_PD, w.W_V, w.b_V).view({p.x_PD.size(0), -1, shape.group()});
  }
  p.v_BTSG = p.v_BTSG.unflatten(0, {x_BTD.size(0), x_BTD.size(1)});
  return p;
}

kernels::AttentionResult attend(const DictionaryShape& shape,
                                const DictionaryWeights& weights,
                                const Projections& p) {
  if (shape.num_qk_heads == 0) {
    return {p.v_BTSG.view({-1, shape.num_ov_heads}), {}, {}};
  }
  kernels::AttentionResult attention =
      kernels::attention_forward(p.q_BTSE, p.k_BTSE, p.v_BTSG, shape.attn_scale);
  if (weights.virtual_k.defined()) {
    add_virtual_keys(p.q_BTSE, weights.virtual_k, shape.attn_scale, attention);
  }
  return attention;
}

at::Tensor before_norm(const QkNorm& norm,
                       const at::Tensor& gain_SE,
                       at::Tensor grad_BTSE,
                       at::Tensor& grad_gain_SE) {
  if (gain_SE.defined()) {
    std::tie(grad_BTSE, grad_gain_SE) = norm.backward(grad_BTSE, gain_SE);
  }
  return grad_BTSE.flatten(0, 1);
}

}  // namespace lorsa::model
