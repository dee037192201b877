#include "lm/config_fields.h"
#include "lm/llama.h"
#include "lm/rope_config.h"
#include "lorsa/core/error.h"

namespace lorsa::lm {
namespace {

using io::Json;
using io::member_or;

/// What Llama and Qwen3 have in common: everything but the biases and the default head width.
void read_shared(const Json& json,
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
  config.norm_eps = epsilon_or(json, "rms_norm_eps", where, 1e-6);
  config.tied_embeddings = member_or<bool>(json, "tie_word_embeddings", where, false);
  config.attention_bias = member_or<bool>(json, "attention_bias", where, false);
  LORSA_CHECK(config.num_heads % config.num_kv_heads == 0, FormatError,
              "{}: num_attention_heads = {} is not a multiple of num_key_value_heads = {}", where,
              config.num_heads, config.num_kv_heads);
  config.head_width = positive_or(json, "head_dim", where, default_head_width);
  LORSA_CHECK(
      config.head_width > 0, FormatError,
      "{}: without head_dim, hidden_size = {} must be a multiple of num_attention_heads = {}",
      where, config.d_model, config.num_heads);
  static_cast<void>(known_word(json, where, "hidden_act", {"silu", "swish"}));
  config.activation = Activation::kSilu;
  config.rope = read_rope(json, where, config.head_width);
  LORSA_CHECK(config.rope.rotary_dim == config.head_width, FormatError,
              "{}: partial_rotary_factor other than 1 is not supported for {}", where,
              config.architecture);
}

}  // namespace

void read_llama_config(const Json& json, const std::string& where, ModelConfig& config) {
  const int64_t d_model = positive(json, "hidden_size", where);
  const int64_t num_heads = positive(json, "num_attention_heads", where);
  read_shared(json, where, d_model % num_heads == 0 ? d_model / num_heads : 0, config);
  config.mlp_bias = member_or<bool>(json, "mlp_bias", where, false);
}

void read_qwen3_config(const Json& json, const std::string& where, ModelConfig& config) {
  constexpr int64_t kDefaultHeadWidth = 128;  // transformers' Qwen3Config: not D / N
  read_shared(json, where, kDefaultHeadWidth, config);
  config.qk_norm = true;
  LORSA_CHECK(!member_or<bool>(json, "use_sliding_window", where, false), FormatError,
              "{}: use_sliding_window = true is not supported: every layer must see all positions",
              where);
  const Json layer_types = member_or<Json>(json, "layer_types", where, Json::array());
  for (const Json& type : layer_types) {
    LORSA_CHECK(type == "full_attention", FormatError,
                "{}: layer_types: {} is not supported; known: full_attention", where, type.dump());
  }
}

}  // namespace lorsa::lm
