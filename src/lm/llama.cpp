#include "lm/llama.h"

#include <ATen/ATen.h>

#include <cmath>

#include "lorsa/core/error.h"
#include "lorsa/kernels/pointwise.h"

namespace lorsa::lm {

LlamaDecoder::LlamaDecoder(const ModelConfig& config,
                           const WeightFiles& weights,
                           const Placement& placement)
    : Decoder(
          config,
          Vocabulary(config, weights, placement, {"model.embed_tokens.weight", "lm_head.weight"})) {
  const WeightLoader load(weights, placement);
  for (int64_t layer = 0; layer < placement.num_layers; ++layer) {
    blocks_.push_back(load_block(load, layer, placement));
  }
  if (placement.head == Head::kLoad) {
    final_gain_ = load.tensor("model.norm.weight", {config.d_model});
  }
}

LlamaDecoder::Block LlamaDecoder::load_block(const WeightLoader& load,
                                             int64_t layer,
                                             const Placement& placement) const {
  const int64_t D = config_.d_model;
  const int64_t A = config_.head_width;
  const int64_t query_width = config_.num_heads * A;
  const int64_t key_width = config_.num_kv_heads * A;
  const std::string prefix = formatted("model.layers.{}.", layer);
  const std::string attention = prefix + "self_attn.";
  const std::string mlp = prefix + "mlp.";
  Block block;
  block.attention_gain = load.tensor(prefix + "input_layernorm.weight", {D});
  block.q = load.linear(attention + "q_proj", query_width, D, config_.attention_bias);
  block.k = load.linear(attention + "k_proj", key_width, D, config_.attention_bias);
  block.v = load.linear(attention + "v_proj", key_width, D, config_.attention_bias);
  block.o = load.linear(attention + "o_proj", D, query_width, config_.attention_bias);
  if (config_.qk_norm) {
    block.q_gain = load.tensor(attention + "q_norm.weight", {A});
    block.k_gain = load.tensor(attention + "k_norm.weight", {A});
  }
  if (placement.has_mlp(layer)) {
    block.mlp_gain = load.tensor(prefix + "post_attention_layernorm.weight", {D});
    block.gate = load.linear(mlp + "gate_proj", config_.d_mlp, D, config_.mlp_bias);
    block.up = load.linear(mlp + "up_proj", config_.d_mlp, D, config_.mlp_bias);
    block.down = load.linear(mlp + "down_proj", D, config_.d_mlp, config_.mlp_bias);
  }
  return block;
}

const LlamaDecoder::Block& LlamaDecoder::block(int64_t layer) const {
  return blocks_.at(static_cast<size_t>(layer));
}

AttentionStep LlamaDecoder::attend(int64_t layer,
                                   const at::Tensor& residual_BTD,
                                   const kernels::RopeTable& rope,
                                   TapInput tap) const {
  const Block& weights = block(layer);
  const int64_t B = residual_BTD.size(0);
  const int64_t T = residual_BTD.size(1);
  const int64_t N = config_.num_heads;
  const int64_t M = config_.num_kv_heads;
  const int64_t A = config_.head_width;
  AttentionStep step;
  const at::Tensor x_BTD = kernels::rms_norm(residual_BTD, weights.attention_gain, config_.norm_eps,
                                             tap == TapInput::kYes ? &step.input_BTD : nullptr);
  at::Tensor q_BTNA = weights.q(x_BTD).view({B, T, N, A});
  at::Tensor k_BTMA = weights.k(x_BTD).view({B, T, M, A});
  const at::Tensor v_BTMA = weights.v(x_BTD).view({B, T, M, A});
  if (config_.qk_norm) {
    q_BTNA = kernels::rms_norm(q_BTNA, weights.q_gain, config_.norm_eps);
    k_BTMA = kernels::rms_norm(k_BTMA, weights.k_gain, config_.norm_eps);
  }
  kernels::apply_rope_(q_BTNA, config_.rope, rope, kernels::RopeDirection::kForward);
  kernels::apply_rope_(k_BTMA, config_.rope, rope, kernels::RopeDirection::kForward);
  const at::Tensor z_BTNA =
      kernels::causal_attention(q_BTNA, k_BTMA, v_BTMA, std::sqrt(static_cast<double>(A)));
  step.output_BTD = weights.o(z_BTNA.reshape({B, T, N * A}));
  return step;
}

void LlamaDecoder::finish_block(int64_t layer,
                                at::Tensor& residual_BTD,
                                const at::Tensor& attention_BTD) const {
  const Block& weights = block(layer);
  residual_BTD.add_(attention_BTD);
  const at::Tensor x_BTD = kernels::rms_norm(residual_BTD, weights.mlp_gain, config_.norm_eps);
  at::Tensor hidden = weights.gate(x_BTD);
  kernels::silu_mul_(hidden, weights.up(x_BTD));
  weights.down.add_to_(residual_BTD, hidden);
}

at::Tensor LlamaDecoder::final_norm(const at::Tensor& residual_BTD) const {
  return kernels::rms_norm(residual_BTD, final_gain_, config_.norm_eps);
}

at::Tensor LlamaDecoder::final_norm_direction(const at::Tensor& directions_nD) const {
  return directions_nD * final_gain_.to(at::kFloat);
}

kernels::Mhsa LlamaDecoder::attention(int64_t layer) const {
  const Block& weights = block(layer);
  const int64_t D = config_.d_model;
  const int64_t A = config_.head_width;
  const auto plain = [](const at::Tensor& tensor) {
    return tensor.to(c10::Device(c10::kCPU), at::kFloat);
  };
  const auto copied = [&](const at::Tensor& tensor) {
    return tensor.defined() ? plain(tensor).clone() : at::Tensor();
  };
  const at::Tensor gain_D = plain(weights.attention_gain);
  // x W^T with x = unit * gain: the gain scales W's columns.
  const auto folded = [&](const Linear& linear, int64_t heads) {
    return (plain(linear.weight()) * gain_D).view({heads, A, D}).transpose(1, 2).contiguous();
  };
  const auto bias = [&](const Linear& linear, int64_t heads) {
    return linear.bias().defined() ? copied(linear.bias()).view({heads, A}) : at::Tensor();
  };
  kernels::Mhsa layer_weights;
  layer_weights.W_Q = folded(weights.q, config_.num_heads);
  layer_weights.W_K = folded(weights.k, config_.num_kv_heads);
  layer_weights.W_V = folded(weights.v, config_.num_kv_heads);
  layer_weights.W_O =
      plain(weights.o.weight()).view({D, config_.num_heads, A}).permute({1, 2, 0}).contiguous();
  layer_weights.b_Q = bias(weights.q, config_.num_heads);
  layer_weights.b_K = bias(weights.k, config_.num_kv_heads);
  layer_weights.b_V = bias(weights.v, config_.num_kv_heads);
  layer_weights.b_O = copied(weights.o.bias());
  layer_weights.q_norm = copied(weights.q_gain);
  layer_weights.k_norm = copied(weights.k_gain);
  if (config_.qk_norm) {
    layer_weights.qk_norm_eps = config_.norm_eps;
  }
  layer_weights.attn_scale = std::sqrt(static_cast<double>(A));
  layer_weights.rope = config_.rope;
  return layer_weights;
}

}  // namespace lorsa::lm
