// The training step: the formulas of docs/method.md forwards, their derivatives backwards.
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <optional>
#include <tuple>
#include <utility>

#include "kernels/product.h"
#include "lorsa/core/error.h"
#include "lorsa/kernels/attention.h"
#include "lorsa/model/dictionary.h"
#include "model/decoding.h"
#include "model/projections.h"
#include "model/virtual_keys.h"

namespace lorsa::model {
namespace {

using Qk = StepOptions::Qk;

kernels::AttentionGradients attention_gradients(const Projections& p,
                                                const kernels::AttentionResult& attention,
                                                const ZGradient& d_z,
                                                double attn_scale,
                                                const kernels::AttentionBackwardOptions& options) {
  if (d_z.is_dense()) {
    return kernels::attention_backward_dense(p.q_BTSE, p.k_BTSE, p.v_BTSG, attention, d_z.grad_PH,
                                             attn_scale, options);
  }
  return kernels::attention_backward(p.q_BTSE, p.k_BTSE, p.v_BTSG, attention, d_z.grad_PK,
                                     d_z.head_PK, attn_scale, options);
}

std::pair<at::Tensor, at::Tensor> weight_and_bias(kernels::LinearGradients gradients) {
  return {std::move(gradients.weight_NK), std::move(gradients.bias_N)};
}

/// Of W_Q and b_Q, from what attention_backward() says of where queries have one.
kernels::LinearGradients query_gradients(const at::Tensor& d_q_PSE,
                                         const at::Tensor& x_PD,
                                         const kernels::AttentionGradients& d) {
  return d.q_rows ? kernels::product_tn_heads(d_q_PSE, x_PD, *d.q_rows)
                  : kernels::product_tn_heads(d_q_PSE, x_PD, d.support ? &d.support->q : nullptr);
}

/// Encoder gradients without attention, where z is v: where few features act, head by head over
/// their positions, as the decoder's are.
std::pair<at::Tensor, at::Tensor> encoder_gradients(const ZGradient& d_z,
                                                    const DictionaryWeights& w,
                                                    const Projections& p) {
  if (d_z.is_dense()) {
    return weight_and_bias(kernels::product_tn(d_z.grad_PH, p.x_PD));
  }
  const kernels::TopK entries{d_z.grad_PK.contiguous(), d_z.head_PK.contiguous()};
  at::Tensor W_V = kernels::sparse_decode_backward(entries, p.x_PD, w.W_V.size(0)).grad_W_O_HD;
  const at::Tensor grad_PH =
      kernels::scatter_kept(entries.value_PK, entries.head_PK, w.W_V.size(0));
  return {std::move(W_V), grad_PH.sum(at::IntArrayRef{0}, /*keepdim=*/false, w.b_V.scalar_type())};
}

/// The weights as this step's products read them.
DictionaryWeights operands(const DictionaryWeights& weights, const StepOptions& options) {
  if (options.precision == StepOptions::Precision::kFull) {
    return weights;
  }
  DictionaryWeights out = weights;
  for (const WeightInfo& info : weight_table()) {
    at::Tensor& weight = out.*info.member;
    if (!info.is_matrix || !weight.defined()) {
      continue;
    }
    LORSA_CHECK(weight.scalar_type() == at::kFloat, ShapeError,
                "bfloat16 compute: {} is {}, not float32", info.name, weight.scalar_type());
    const at::Tensor& copy = options.bfloat16_weights.*info.member;
    weight = copy.defined() ? copy : weight.to(at::kBFloat16);
  }
  return out;
}

}  // namespace

StepResult Dictionary::forward_backward(const at::Tensor& x_BTD,
                                        const at::Tensor& target_BTD,
                                        const at::Tensor& scored_BT,
                                        const StepOptions& options) const {
  const at::NoGradGuard no_grad;
  LORSA_CHECK(target_BTD.sizes() == x_BTD.sizes(), ShapeError, "target {} and input {} differ",
              target_BTD.sizes(), x_BTD.sizes());
  const DictionaryWeights w = operands(weights_, options);
  const at::ScalarType dtype = w.W_V.scalar_type();
  Projections p = project(shape_, w, x_BTD.to(dtype));
  const int64_t P = p.x_PD.size(0);
  kernels::AttentionResult attention = attend(shape_, w, p);

  StepResult out;
  DictionaryWeights& g = out.gradients;
  const auto ready = [&](const char* name) {
    if (options.gradient_ready && g.at(name).defined()) {
      options.gradient_ready(name, g.at(name));
    }
  };
  ZGradient d_z =
      model::decode({shape_, w, attention.z_PH, target_BTD.to(dtype).reshape({P, shape_.d_model}),
                     scored_BT.reshape({P}), options},
                    out);
  for (const char* name : {"W_O", "b_D", "log_threshold"}) {
    ready(name);
  }

  if (shape_.num_qk_heads == 0) {
    std::tie(g.W_V, g.b_V) = encoder_gradients(d_z, w, p);
    ready("W_V");
    ready("b_V");
    return out;
  }
  const bool trains_qk = options.qk == Qk::kTrain;
  kernels::AttentionBackwardOptions backward;
  backward.gradients = trains_qk ? kernels::GradientsOf::kAll : kernels::GradientsOf::kValues;
  // The norm's gain sums over all rows.
  backward.outside = shape_.qk_norm ? kernels::Outside::kZero : kernels::Outside::kUnset;
  // Virtual keys are met by queries that RoPE has turned, and add to these queries' gradient.
  if (!w.virtual_k.defined() && shape_.rope.rotary_dim > 0) {
    backward.rope = shape_.rope;
    backward.rope_table = p.rope;
  }
  kernels::AttentionGradients d =
      attention_gradients(p, attention, d_z, shape_.attn_scale, backward);
  if (trains_qk && w.virtual_k.defined()) {
    g.virtual_k =
        virtual_keys_backward(p.q_BTSE, w.virtual_k, shape_.attn_scale, attention,
                              d_z.dot_with(attention.z_PH, shape_.num_qk_heads), d.grad_q_BTSE);
    ready("virtual_k");
    for (at::Tensor* grad : {&d.grad_q_BTSE, &d.grad_k_BTSE}) {
      kernels::apply_rope_(*grad, shape_.rope, p.rope, kernels::RopeDirection::kInverse);
    }
  }
  // The weight gradients need memory that these do not any more.
  d_z = {};
  attention = {};
  p.v_BTSG.reset();
  p.q_BTSE.reset();
  p.k_BTSE.reset();

  const std::optional<kernels::GradientSupport>& support = d.support;
  at::Tensor d_v = std::exchange(d.grad_v_BTSG, {}).view({P, shape_.num_ov_heads});
  std::tie(g.W_V, g.b_V) =
      weight_and_bias(support ? kernels::product_tn(d_v, p.x_PD, support->v_length_BH)
                              : kernels::product_tn(d_v, p.x_PD));
  d_v.reset();
  ready("W_V");
  ready("b_V");
  if (!trains_qk) {
    return out;
  }
  at::Tensor d_q = before_norm(p.q_norm, w.q_norm, std::exchange(d.grad_q_BTSE, {}), g.q_norm);
  std::tie(g.W_Q, g.b_Q) = weight_and_bias(query_gradients(d_q, p.x_PD, d));
  d_q.reset();
  d.q_rows.reset();
  g.b_Q = g.b_Q.view({shape_.num_qk_heads, shape_.d_qk});
  for (const char* name : {"W_Q", "b_Q", "q_norm"}) {
    ready(name);
  }
  const at::Tensor d_k =
      before_norm(p.k_norm, w.k_norm, std::exchange(d.grad_k_BTSE, {}), g.k_norm);
  std::tie(g.W_K, g.b_K) =
      weight_and_bias(kernels::product_tn_heads(d_k, p.x_PD, support ? &support->k : nullptr));
  g.b_K = g.b_K.view({shape_.num_qk_heads, shape_.d_qk});
  for (const char* name : {"W_K", "b_K", "k_norm"}) {
    ready(name);
  }
  return out;
}

}  // namespace lorsa::model
