#include "lm/llama.h"

#include <ATen/ATen.h>

#include <cmath>

#include "lorsa/core/error.h"
#include "lorsa/kernels/pointwise.h"

namespace lorsa::lm {
namespace {

at::Tensor apply(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
  return bias.defined() ? at::linear(x, weight, bias) : at::linear(x, weight);
}

}  // namespace

LlamaDecoder::LlamaDecoder(const ModelConfig& config,
                           const WeightFiles& weights,
                           const Placement& placement)
    : config_(config) {
  const int64_t D = config.d_model;
  const int64_t query_width = config.num_heads * config.head_width;
  const int64_t key_width = config.num_kv_heads * config.head_width;
  const auto load = [&](const std::string& name, const std::vector<int64_t>& shape) {
    return weights.load(name, shape, placement.dtype, placement.device);
  };
  const auto linear = [&](const std::string& name, int64_t out, int64_t in, bool has_bias) {
    return Linear{load(name + ".weight", {out, in}),
                  has_bias ? load(name + ".bias", {out}) : at::Tensor()};
  };
  embedding_ = load("model.embed_tokens.weight", {config.vocabulary_size, D});
  for (int64_t layer = 0; layer < placement.num_layers; ++layer) {
    const std::string prefix = concat("model.layers.", layer, ".");
    const std::string attention = prefix + "self_attn.";
    const std::string mlp = prefix + "mlp.";
    const bool bias = config.attention_bias;
    blocks_.push_back(Block{.attention_gain = load(prefix + "input_layernorm.weight", {D}),
                            .mlp_gain = load(prefix + "post_attention_layernorm.weight", {D}),
                            .q = linear(attention + "q_proj", query_width, D, bias),
                            .k = linear(attention + "k_proj", key_width, D, bias),
                            .v = linear(attention + "v_proj", key_width, D, bias),
                            .o = linear(attention + "o_proj", D, query_width, bias),
                            .gate = linear(mlp + "gate_proj", config.d_mlp, D, config.mlp_bias),
                            .up = linear(mlp + "up_proj", config.d_mlp, D, config.mlp_bias),
                            .down = linear(mlp + "down_proj", D, config.d_mlp, config.mlp_bias)});
  }
  final_gain_ = load("model.norm.weight", {D});
  unembedding_ =
      config.tied_embeddings ? embedding_ : load("lm_head.weight", {config.vocabulary_size, D});
}

const LlamaDecoder::Block& LlamaDecoder::block(int64_t layer) const {
  return blocks_.at(static_cast<size_t>(layer));
}

at::Tensor LlamaDecoder::embed(const at::Tensor& tokens_BT) const {
  return at::embedding(embedding_, tokens_BT);
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
  const at::Tensor x_BTD = kernels::rms_norm(residual_BTD,
                                             weights.attention_gain,
                                             config_.norm_eps,
                                             tap == TapInput::kYes ? &step.input_BTD : nullptr);
  at::Tensor q_BTNA = apply(x_BTD, weights.q.weight, weights.q.bias).view({B, T, N, A});
  at::Tensor k_BTMA = apply(x_BTD, weights.k.weight, weights.k.bias).view({B, T, M, A});
  const at::Tensor v_BTMA = apply(x_BTD, weights.v.weight, weights.v.bias).view({B, T, M, A});
  kernels::apply_rope_(q_BTNA, config_.rope, rope, kernels::RopeDirection::kForward);
  kernels::apply_rope_(k_BTMA, config_.rope, rope, kernels::RopeDirection::kForward);
  const at::Tensor z_BTNA =
      kernels::causal_attention(q_BTNA, k_BTMA, v_BTMA, std::sqrt(static_cast<double>(A)));
  step.output_BTD = apply(z_BTNA.reshape({B, T, N * A}), weights.o.weight, weights.o.bias);
  return step;
}

void LlamaDecoder::finish_block(int64_t layer,
                                at::Tensor& residual_BTD,
                                const at::Tensor& attention_BTD) const {
  const Block& weights = block(layer);
  residual_BTD.add_(attention_BTD);
  const at::Tensor x_BTD = kernels::rms_norm(residual_BTD, weights.mlp_gain, config_.norm_eps);
  at::Tensor hidden = apply(x_BTD, weights.gate.weight, weights.gate.bias);
  kernels::silu_mul_(hidden, apply(x_BTD, weights.up.weight, weights.up.bias));
  residual_BTD.add_(apply(hidden, weights.down.weight, weights.down.bias));
}

at::Tensor LlamaDecoder::final_norm(const at::Tensor& residual_BTD) const {
  return kernels::rms_norm(residual_BTD, final_gain_, config_.norm_eps);
}

const at::Tensor& LlamaDecoder::final_gain() const {
  return final_gain_;
}

const at::Tensor& LlamaDecoder::unembedding() const {
  return unembedding_;
}

kernels::Mhsa LlamaDecoder::attention(int64_t layer) const {
  const Block& weights = block(layer);
  const int64_t D = config_.d_model;
  const int64_t A = config_.head_width;
  const auto plain = [](const at::Tensor& tensor) {
    return tensor.to(c10::Device(c10::kCPU), at::kFloat);
  };
  const at::Tensor gain_D = plain(weights.attention_gain);
  // x W^T with x = unit * gain: the gain scales W's columns.
  const auto folded = [&](const Linear& linear, int64_t heads) {
    return (plain(linear.weight) * gain_D).view({heads, A, D}).transpose(1, 2).contiguous();
  };
  const auto bias = [&](const Linear& linear, int64_t heads) {
    return linear.bias.defined() ? plain(linear.bias).view({heads, A}).clone() : at::Tensor();
  };
  kernels::Mhsa layer_weights;
  layer_weights.W_Q = folded(weights.q, config_.num_heads);
  layer_weights.W_K = folded(weights.k, config_.num_kv_heads);
  layer_weights.W_V = folded(weights.v, config_.num_kv_heads);
  layer_weights.W_O =
      plain(weights.o.weight).view({D, config_.num_heads, A}).permute({1, 2, 0}).contiguous();
  layer_weights.b_Q = bias(weights.q, config_.num_heads);
  layer_weights.b_K = bias(weights.k, config_.num_kv_heads);
  layer_weights.b_V = bias(weights.v, config_.num_kv_heads);
  layer_weights.b_O = weights.o.bias.defined() ? plain(weights.o.bias).clone() : at::Tensor();
  layer_weights.attn_scale = std::sqrt(static_cast<double>(A));
  layer_weights.rope = config_.rope;
  return layer_weights;
}

std::unique_ptr<const Decoder> make_decoder(const ModelConfig& config,
                                            const WeightFiles& weights,
                                            const Placement& placement) {
  // read_model_config() lets no other architecture through.
  LORSA_CHECK(config.architecture == "LlamaForCausalLM",
              FormatError,
              "architecture \"",
              config.architecture,
              "\" is not supported");
  return std::make_unique<LlamaDecoder>(config, weights, placement);
}

}  // namespace lorsa::lm
