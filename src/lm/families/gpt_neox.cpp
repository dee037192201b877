// GPTNeoXForCausalLM (Pythia): layer norms, attention with partial rotary embedding, GELU MLP; both
// read the block's input (parallel) or one after the other.
#include <cmath>
#include <string>
#include <utility>

#include "lm/config_fields.h"
#include "lm/family.h"
#include "lm/rope_config.h"
#include "lorsa/core/error.h"

namespace lorsa::lm {
namespace {

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
  config.tied_embeddings = member_or<bool>(json, "tie_word_embeddings", where, false);
  LayerSpec spec;
  spec.norm = NormKind::kLayer;
  spec.norm_eps = epsilon_or(json, "layer_norm_eps", where, 1e-5);
  spec.qkv_bias = spec.o_bias = member_or<bool>(json, "attention_bias", where, true);
  spec.attn_scale = std::sqrt(static_cast<double>(config.head_width));
  spec.gated = false;
  spec.mlp_bias = true;
  spec.parallel_residual = member_or<bool>(json, "use_parallel_residual", where, true);
  // The last three are one formula, written differently.
  const std::string activation =
      known_word(json, where, "hidden_act", {"gelu", "gelu_new", "gelu_fast", "gelu_pytorch_tanh"});
  spec.activation = activation == "gelu" ? Activation::kGelu : Activation::kGeluTanh;
  const RopeKeys keys = {.base = {"rotary_emb_base", "rope_theta"},
                         .share = {"rotary_pct", "partial_rotary_factor"},
                         .default_share = 0.25};
  spec.rope = read_rope(json, where, config.head_width, keys);
  set_all_layers(spec, where, config);
}

BlockWeights load_gpt_neox_block(const WeightLoader& load,
                                 const ModelConfig& config,
                                 int64_t layer) {
  const LayerSpec& spec = config.layers.at(static_cast<size_t>(layer));
  const int64_t D = config.d_model;
  const std::string prefix = formatted("gpt_neox.layers.{}.", layer);
  BlockWeights block;
  block.attention_norm = load.norm(prefix + "input_layernorm", spec, D);
  auto [q, k, v] =
      load.heads_of_qkv(prefix + "attention.query_key_value", config.num_heads, D, spec.qkv_bias);
  block.q = std::move(q);
  block.k = std::move(k);
  block.v = std::move(v);
  block.o = load.linear(prefix + "attention.dense", D, D, spec.o_bias);
  if (load.placement().has_mlp(layer)) {
    block.mlp_norm = load.norm(prefix + "post_attention_layernorm", spec, D);
    block.up = load.linear(prefix + "mlp.dense_h_to_4h", config.d_mlp, D, spec.mlp_bias);
    block.down = load.linear(prefix + "mlp.dense_4h_to_h", D, config.d_mlp, spec.mlp_bias);
  }
  return block;
}

}  // namespace

const Family kGptNeox = {
    .architecture = "GPTNeoXForCausalLM",
    .model_type = "gpt_neox",
    .vocabulary = {"gpt_neox.embed_in.weight", "embed_out.weight"},
    .final_norm = "gpt_neox.final_layer_norm",
    .read_config = read_gpt_neox_config,
    .load_block = load_gpt_neox_block,
};

}  // namespace lorsa::lm
