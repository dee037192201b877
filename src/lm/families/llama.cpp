// LlamaForCausalLM: RMS norms, grouped-query attention with rotary embedding, gated SiLU MLP.
// Qwen3ForCausalLM: the same, with an RMS norm on every query and key head before the rotation.
#include <cmath>
#include <string>

#include "lm/config_fields.h"
#include "lm/family.h"
#include "lm/rope_config.h"
#include "lorsa/core/error.h"

namespace lorsa::lm {
namespace {

using io::Json;
using io::member_or;

/// What Llama and Qwen3 have in common: sizes, and the spec that every layer gets.
LayerSpec read_llama_sizes(const Json& json,
                           const std::string& where,
                           int64_t default_head_width,
                           ModelConfig& config) {
  config.vocabulary_size = positive(json, "vocab_size", where);
  config.d_model = positive(json, "hidden_size", where);
  config.num_layers = positive(json, "num_hidden_layers", where);
  config.num_heads = positive(json, "num_attention_heads", where);
  config.num_kv_heads = positive_or(json, "num_key_value_heads", where, config.num_heads);
  config.d_mlp = positive(json, "intermediate_size", where);
  config.max_positions = positive_or(json, "max_position_embeddings", where, 2048);
  config.tied_embeddings = member_or<bool>(json, "tie_word_embeddings", where, false);
  LayerSpec spec;
  spec.norm_eps = epsilon_or(json, "rms_norm_eps", where, 1e-6);
  spec.qkv_bias = spec.o_bias = member_or<bool>(json, "attention_bias", where, false);
  LORSA_CHECK(config.num_heads % config.num_kv_heads == 0, FormatError,
              "{}: num_attention_heads = {} is not a multiple of num_key_value_heads = {}", where,
              config.num_heads, config.num_kv_heads);
  config.head_width = positive_or(json, "head_dim", where, default_head_width);
  LORSA_CHECK(
      config.head_width > 0, FormatError,
      "{}: without head_dim, hidden_size = {} must be a multiple of num_attention_heads = {}",
      where, config.d_model, config.num_heads);
  spec.attn_scale = std::sqrt(static_cast<double>(config.head_width));
  static_cast<void>(known_word(json, where, "hidden_act", {"silu", "swish"}));
  spec.rope = read_rope(json, where, config.head_width);
  LORSA_CHECK(spec.rope.rotary_dim == config.head_width, FormatError,
              "{}: partial_rotary_factor must be 1 for {}", where, config.architecture);
  return spec;
}

void read_llama_config(const Json& json, const std::string& where, ModelConfig& config) {
  const int64_t d_model = positive(json, "hidden_size", where);
  const int64_t num_heads = positive(json, "num_attention_heads", where);
  LayerSpec spec =
      read_llama_sizes(json, where, d_model % num_heads == 0 ? d_model / num_heads : 0, config);
  spec.mlp_bias = member_or<bool>(json, "mlp_bias", where, false);
  set_all_layers(spec, where, config);
}

void read_qwen3_config(const Json& json, const std::string& where, ModelConfig& config) {
  constexpr int64_t kDefaultHeadWidth = 128;  // transformers' Qwen3Config: not D / N
  LayerSpec spec = read_llama_sizes(json, where, kDefaultHeadWidth, config);
  spec.qk_norm = true;
  set_all_layers(spec, where, config);
  LORSA_CHECK(!member_or<bool>(json, "use_sliding_window", where, false), FormatError,
              "{}: use_sliding_window = true is not supported: layers see all positions", where);
  const Json layer_types = member_or<Json>(json, "layer_types", where, Json::array());
  for (const Json& type : layer_types) {
    LORSA_CHECK(type == "full_attention", FormatError,
                "{}: layer_types: {} is not supported; known: full_attention", where, type.dump());
  }
}

BlockWeights load_llama_block(const WeightLoader& load, const ModelConfig& config, int64_t layer) {
  const LayerSpec& spec = config.layers.at(static_cast<size_t>(layer));
  const int64_t D = config.d_model;
  const int64_t A = config.head_width;
  const std::string prefix = formatted("model.layers.{}.", layer);
  const std::string attention = prefix + "self_attn.";
  const std::string mlp = prefix + "mlp.";
  BlockWeights block;
  block.attention_norm = load.norm(prefix + "input_layernorm", spec, D);
  block.q = load.linear(attention + "q_proj", config.num_heads * A, D, spec.qkv_bias);
  block.k = load.linear(attention + "k_proj", config.num_kv_heads * A, D, spec.qkv_bias);
  block.v = load.linear(attention + "v_proj", config.num_kv_heads * A, D, spec.qkv_bias);
  block.o = load.linear(attention + "o_proj", D, config.num_heads * A, spec.o_bias);
  if (spec.qk_norm) {
    block.q_gain = load.tensor(attention + "q_norm.weight", {A});
    block.k_gain = load.tensor(attention + "k_norm.weight", {A});
  }
  if (load.placement().has_mlp(layer)) {
    block.mlp_norm = load.norm(prefix + "post_attention_layernorm", spec, D);
    block.gate = load.linear(mlp + "gate_proj", config.d_mlp, D, spec.mlp_bias);
    block.up = load.linear(mlp + "up_proj", config.d_mlp, D, spec.mlp_bias);
    block.down = load.linear(mlp + "down_proj", D, config.d_mlp, spec.mlp_bias);
  }
  return block;
}

}  // namespace

const Family kLlama = {
    .architecture = "LlamaForCausalLM",
    .model_type = "llama",
    .vocabulary = {"model.embed_tokens.weight", "lm_head.weight"},
    .final_norm = "model.norm",
    .read_config = read_llama_config,
    .load_block = load_llama_block,
};

const Family kQwen3 = {
    .architecture = "Qwen3ForCausalLM",
    .model_type = "qwen3",
    .vocabulary = {"model.embed_tokens.weight", "lm_head.weight"},
    .final_norm = "model.norm",
    .read_config = read_qwen3_config,
    .load_block = load_llama_block,
};

}  // namespace lorsa::lm
