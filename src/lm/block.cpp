#include "lm/block.h"

#include <ATen/ATen.h>

#include <utility>

#include "lorsa/kernels/pointwise.h"

namespace lorsa::lm {
namespace {

/// hidden = act(hidden) * up, in place; `up` undefined: no factor.
void activate_(Activation activation, at::Tensor& hidden, const at::Tensor& up) {
  if (activation == Activation::kSilu && up.defined()) {
    kernels::silu_mul_(hidden, up);
    return;
  }
  switch (activation) {
    case Activation::kSilu:
      at::silu_(hidden);
      break;
    case Activation::kGelu:
      at::gelu_(hidden, "none");
      break;
    case Activation::kGeluTanh:
      at::gelu_(hidden, "tanh");
      break;
  }
  if (up.defined()) {
    hidden.mul_(up);
  }
}

at::Tensor plain(const at::Tensor& tensor) {
  return tensor.to(c10::Device(c10::kCPU), at::kFloat);
}

at::Tensor copied(const at::Tensor& tensor) {
  return tensor.defined() ? plain(tensor).clone() : at::Tensor();
}

}  // namespace

at::Tensor Norm::operator()(const LayerSpec& spec,
                            const at::Tensor& x,
                            at::Tensor* site_input) const {
  if (spec.norm == NormKind::kRms) {
    return kernels::rms_norm(x, gain, spec.norm_eps, site_input);
  }
  at::Tensor out = at::layer_norm(x, gain.sizes(), gain, bias, spec.norm_eps);
  if (site_input != nullptr) {
    *site_input = out;
  }
  return out;
}

at::Tensor Norm::of_direction(const LayerSpec& spec, const at::Tensor& directions_nD) const {
  const at::Tensor centred_nD = spec.norm == NormKind::kRms
                                    ? directions_nD
                                    : directions_nD - directions_nD.mean(-1, /*keepdim=*/true);
  return centred_nD * gain.to(at::kFloat);
}

Block::Block(const ModelConfig& config, const LayerSpec& spec, BlockWeights weights)
    : spec_(spec),
      weights_(std::move(weights)),
      N_(config.num_heads),
      M_(config.num_kv_heads),
      A_(config.head_width),
      D_(config.d_model) {}

SiteActivations Block::attention(const at::Tensor& residual_BTD, TapInput tap) const {
  const int64_t B = residual_BTD.size(0);
  const int64_t T = residual_BTD.size(1);
  SiteActivations step;
  const at::Tensor x_BTD = weights_.attention_norm(
      spec_, residual_BTD, tap == TapInput::kYes ? &step.input_BTD : nullptr);
  at::Tensor q_BTNA = weights_.q(x_BTD).view({B, T, N_, A_});
  at::Tensor k_BTMA = weights_.k(x_BTD).view({B, T, M_, A_});
  const at::Tensor v_BTMA = weights_.v(x_BTD).view({B, T, M_, A_});
  if (spec_.qk_norm) {
    q_BTNA = kernels::rms_norm(q_BTNA, weights_.q_gain, spec_.norm_eps);
    k_BTMA = kernels::rms_norm(k_BTMA, weights_.k_gain, spec_.norm_eps);
  }
  if (spec_.rope.rotary_dim > 0) {
    // Angles in float32 for every compute dtype: bfloat16 has no room for positions in the
    // thousands. The table of a spec is kept, not made anew.
    const kernels::RopeTable rope =
        kernels::rope_table(spec_.rope, T, at::kFloat, residual_BTD.device());
    kernels::apply_rope_(q_BTNA, spec_.rope, rope, kernels::RopeDirection::kForward);
    kernels::apply_rope_(k_BTMA, spec_.rope, rope, kernels::RopeDirection::kForward);
  }
  const at::Tensor z_BTNA = kernels::causal_attention(q_BTNA, k_BTMA, v_BTMA, spec_.attn_scale);
  step.output_BTD = weights_.o(z_BTNA.reshape({B, T, N_ * A_}));
  return step;
}

MlpStep Block::mlp(const at::Tensor& residual_BTD, TapInput tap) const {
  MlpStep step;
  const at::Tensor x_BTD =
      weights_.mlp_norm(spec_, residual_BTD, tap == TapInput::kYes ? &step.input_BTD : nullptr);
  step.hidden_BTM = spec_.gated ? weights_.gate(x_BTD) : weights_.up(x_BTD);
  activate_(spec_.activation, step.hidden_BTM, spec_.gated ? weights_.up(x_BTD) : at::Tensor());
  return step;
}

at::Tensor Block::mlp_output(const at::Tensor& hidden_BTM) const {
  return weights_.down(hidden_BTM);
}

void Block::add_mlp_(at::Tensor& residual_BTD, const at::Tensor& hidden_BTM) const {
  weights_.down.add_to_(residual_BTD, hidden_BTM);
}

kernels::Mhsa Block::mhsa() const {
  // x W^T with x = unit * gain: the gain scales W's columns. A layer norm's output is the site's
  // input as it is.
  const at::Tensor gain_D = spec_.norm == NormKind::kRms ? plain(weights_.attention_norm.gain)
                                                         : at::ones({1}, at::kFloat);
  const auto folded = [&](const Linear& linear, int64_t heads) {
    return (plain(linear.weight()) * gain_D).view({heads, A_, D_}).transpose(1, 2).contiguous();
  };
  const auto bias = [&](const Linear& linear, int64_t heads) {
    return linear.bias().defined() ? copied(linear.bias()).view({heads, A_}) : at::Tensor();
  };
  kernels::Mhsa layer;
  layer.W_Q = folded(weights_.q, N_);
  layer.W_K = folded(weights_.k, M_);
  layer.W_V = folded(weights_.v, M_);
  layer.W_O = plain(weights_.o.weight()).view({D_, N_, A_}).permute({1, 2, 0}).contiguous();
  layer.b_Q = bias(weights_.q, N_);
  layer.b_K = bias(weights_.k, M_);
  layer.b_V = bias(weights_.v, M_);
  layer.b_O = copied(weights_.o.bias());
  layer.q_norm = copied(weights_.q_gain);
  layer.k_norm = copied(weights_.k_gain);
  if (spec_.qk_norm) {
    layer.qk_norm_eps = spec_.norm_eps;
  }
  layer.attn_scale = spec_.attn_scale;
  layer.rope = spec_.rope;
  return layer;
}

}  // namespace lorsa::lm
