#include "lm/config_fields.h"
#include "lm/gpt_neox.h"
#include "lm/rope_config.h"
#include "lorsa/core/error.h"

namespace lorsa::lm {

using io::Json;
using io::member_or;

void read_gpt_neox_config(const Json& json, const std::string& where, ModelConfig& config) {
  config.vocabulary_size = positive(json, "vocab_size", where);
  config.d_model = positive(json, "hidden_size", where);
  config.num_layers = positive(json, "num_hidden_layers", where);
  config.num_heads = positive(json, "num_attention_heads", where);
  config.num_kv_heads = config.num_heads;
  LORSA_CHECK(config.d_model % config.num_heads == 0, FormatError,
              "{}: hidden_size = {} is not a multiple of num_attention_heads = {}", where,
              config.d_model, config.num_heads);
  config.head_width = config.d_model / config.num_heads;
  config.d_mlp = positive(json, "intermediate_size", where);
  config.max_positions = positive_or(json, "max_position_embeddings", where, 2048);
  config.norm_eps = epsilon_or(json, "layer_norm_eps", where, 1e-5);
  config.tied_embeddings = member_or<bool>(json, "tie_word_embeddings", where, false);
  config.attention_bias = member_or<bool>(json, "attention_bias", where, true);
  config.mlp_bias = true;
  config.parallel_residual = member_or<bool>(json, "use_parallel_residual", where, true);
  // The last three are one formula, written differently.
  const std::string activation =
      known_word(json, where, "hidden_act", {"gelu", "gelu_new", "gelu_fast", "gelu_pytorch_tanh"});
  config.activation = activation == "gelu" ? Activation::kGelu : Activation::kGeluTanh;
  const RopeKeys keys = {.base = {"rotary_emb_base", "rope_theta"},
                         .share = {"rotary_pct", "partial_rotary_factor"},
                         .default_share = 0.25};
  config.rope = read_rope(json, where, config.head_width, keys);
}

}  // namespace lorsa::lm
