#include "lm/gpt_neox.h"

#include <ATen/ATen.h>

#include <cmath>

#include "lorsa/core/error.h"

namespace lorsa::lm {

GptNeoxDecoder::GptNeoxDecoder(const ModelConfig& config,
                               const WeightFiles& weights,
                               const Placement& placement)
    : Decoder(config,
              Vocabulary(
                  config, weights, placement, {"gpt_neox.embed_in.weight", "embed_out.weight"})) {
  const WeightLoader load(weights, placement);
  for (int64_t layer = 0; layer < placement.num_layers; ++layer) {
    blocks_.push_back(load_block(load, layer, placement));
  }
  if (placement.head == Head::kLoad) {
    final_norm_ = load_norm(load, "gpt_neox.final_layer_norm", config.d_model);
  }
}

GptNeoxDecoder::Norm GptNeoxDecoder::load_norm(const WeightLoader& load,
                                               const std::string& name,
                                               int64_t width) {
  return {load.tensor(name + ".weight", {width}), load.tensor(name + ".bias", {width})};
}

GptNeoxDecoder::Block GptNeoxDecoder::load_block(const WeightLoader& load,
                                                 int64_t layer,
                                                 const Placement& placement) const {
  const int64_t D = config_.d_model;
  const std::string prefix = formatted("gpt_neox.layers.{}.", layer);
  Block block;
  block.attention_norm = load_norm(load, prefix + "input_layernorm", D);
  block.qkv = load.linear(prefix + "attention.query_key_value", 3 * D, D, config_.attention_bias);
  block.out = load.linear(prefix + "attention.dense", D, D, config_.attention_bias);
  if (placement.has_mlp(layer)) {
    block.mlp_norm = load_norm(load, prefix + "post_attention_layernorm", D);
    block.mlp_in = load.linear(prefix + "mlp.dense_h_to_4h", config_.d_mlp, D, config_.mlp_bias);
    block.mlp_out = load.linear(prefix + "mlp.dense_4h_to_h", D, config_.d_mlp, config_.mlp_bias);
  }
  return block;
}

const GptNeoxDecoder::Block& GptNeoxDecoder::block(int64_t layer) const {
  return blocks_.at(static_cast<size_t>(layer));
}

at::Tensor GptNeoxDecoder::apply(const Norm& norm, const at::Tensor& x) const {
  return at::layer_norm(x, {config_.d_model}, norm.gain, norm.bias, config_.norm_eps);
}

AttentionStep GptNeoxDecoder::attend(int64_t layer,
                                     const at::Tensor& residual_BTD,
                                     const kernels::RopeTable& rope,
                                     TapInput tap) const {
  const Block& weights = block(layer);
  const int64_t B = residual_BTD.size(0);
  const int64_t T = residual_BTD.size(1);
  const int64_t N = config_.num_heads;
  const int64_t A = config_.head_width;
  AttentionStep step;
  const at::Tensor x_BTD = apply(weights.attention_norm, residual_BTD);
  if (tap == TapInput::kYes) {
    step.input_BTD = x_BTD;
  }
  const at::Tensor qkv_BTNA = weights.qkv(x_BTD).view({B, T, N, 3 * A});
  at::Tensor q_BTNA = qkv_BTNA.narrow(3, 0, A);
  at::Tensor k_BTNA = qkv_BTNA.narrow(3, A, A);
  const at::Tensor v_BTNA = qkv_BTNA.narrow(3, 2 * A, A);
  kernels::apply_rope_(q_BTNA, config_.rope, rope, kernels::RopeDirection::kForward);
  kernels::apply_rope_(k_BTNA, config_.rope, rope, kernels::RopeDirection::kForward);
  const at::Tensor z_BTNA =
      kernels::causal_attention(q_BTNA, k_BTNA, v_BTNA, std::sqrt(static_cast<double>(A)));
  step.output_BTD = weights.out(z_BTNA.reshape({B, T, N * A}));
  return step;
}

void GptNeoxDecoder::finish_block(int64_t layer,
                                  at::Tensor& residual_BTD,
                                  const at::Tensor& attention_BTD) const {
  const Block& weights = block(layer);
  at::Tensor x_BTD;
  if (config_.parallel_residual) {
    x_BTD = apply(weights.mlp_norm, residual_BTD);
    residual_BTD.add_(attention_BTD);
  } else {
    residual_BTD.add_(attention_BTD);
    x_BTD = apply(weights.mlp_norm, residual_BTD);
  }
  at::Tensor hidden = weights.mlp_in(x_BTD);
  at::gelu_(hidden, config_.activation == Activation::kGeluTanh ? "tanh" : "none");
  weights.mlp_out.add_to_(residual_BTD, hidden);
}

at::Tensor GptNeoxDecoder::final_norm(const at::Tensor& residual_BTD) const {
  return apply(final_norm_, residual_BTD);
}

at::Tensor GptNeoxDecoder::final_norm_direction(const at::Tensor& directions_nD) const {
  const at::Tensor centred_nD = directions_nD - directions_nD.mean(-1, /*keepdim=*/true);
  return centred_nD * final_norm_.gain.to(at::kFloat);
}

kernels::Mhsa GptNeoxDecoder::attention(int64_t layer) const {
  // The cached input is the norm's output, gain and bias included: nothing to fold.
  const Block& weights = block(layer);
  const int64_t D = config_.d_model;
  const int64_t N = config_.num_heads;
  const int64_t A = config_.head_width;
  const auto plain = [](const at::Tensor& tensor) {
    return tensor.to(c10::Device(c10::kCPU), at::kFloat);
  };
  const at::Tensor qkv_N3AD = plain(weights.qkv.weight()).view({N, 3, A, D});
  const auto matrix = [&](int64_t part) {
    return qkv_N3AD.select(1, part).transpose(1, 2).contiguous();
  };
  const auto bias = [&](int64_t part) {
    return weights.qkv.bias().defined()
               ? plain(weights.qkv.bias()).view({N, 3, A}).select(1, part).clone()
               : at::Tensor();
  };
  kernels::Mhsa layer_weights;
  layer_weights.W_Q = matrix(0);
  layer_weights.W_K = matrix(1);
  layer_weights.W_V = matrix(2);
  layer_weights.W_O = plain(weights.out.weight()).view({D, N, A}).permute({1, 2, 0}).contiguous();
  layer_weights.b_Q = bias(0);
  layer_weights.b_K = bias(1);
  layer_weights.b_V = bias(2);
  layer_weights.b_O =
      weights.out.bias().defined() ? plain(weights.out.bias()).clone() : at::Tensor();
  layer_weights.attn_scale = std::sqrt(static_cast<double>(A));
  layer_weights.rope = config_.rope;
  return layer_weights;
}

}  // namespace lorsa::lm
