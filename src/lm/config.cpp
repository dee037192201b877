#include <algorithm>
#include <array>
#include <string_view>

#include "lorsa/core/error.h"
#include "lorsa/io/json.h"
#include "lorsa/lm/language_model.h"

namespace lorsa::lm {
namespace {

using io::Json;
using io::member;
using io::member_or;

int64_t positive(const Json& json, const std::string& key, const std::string& where) {
  const auto value = member<int64_t>(json, key, where);
  LORSA_CHECK(value > 0, FormatError, where, ": ", key, " = ", value, ", expected > 0");
  return value;
}

double positive_number(const Json& json, const std::string& key, const std::string& where) {
  const auto value = member<double>(json, key, where);
  LORSA_CHECK(value > 0.0, FormatError, where, ": ", key, " = ", value, ", expected > 0");
  return value;
}

int64_t positive_or(const Json& json,
                    const std::string& key,
                    const std::string& where,
                    int64_t fallback) {
  return json.contains(key) && !json.at(key).is_null() ? positive(json, key, where) : fallback;
}

/// The frequency scaling of `object` (rope_scaling, or rope_parameters of transformers 5) laid over
/// `spec`.
kernels::RopeSpec with_scaling(const Json& object,
                               const std::string& where,
                               kernels::RopeSpec spec) {
  const auto type = member_or<std::string>(
      object, "rope_type", where, member_or<std::string>(object, "type", where, ""));
  const auto old_spelling = member_or<std::string>(object, "type", where, type);
  LORSA_CHECK(type == old_spelling,
              FormatError,
              where,
              ": rope_type \"",
              type,
              "\" and type \"",
              old_spelling,
              "\" disagree");
  if (type == "default") {
    return spec;
  }
  if (type == "linear") {
    spec.scaling = kernels::RopeScaling::kLinear;
    spec.factor = positive_number(object, "factor", where);
    return spec;
  }
  LORSA_CHECK(type == "llama3",
              FormatError,
              where,
              ": rope type \"",
              type,
              "\" is not supported; known: default, linear, llama3");
  spec.scaling = kernels::RopeScaling::kLlama3;
  spec.factor = positive_number(object, "factor", where);
  spec.low_freq_factor = positive_number(object, "low_freq_factor", where);
  spec.high_freq_factor = positive_number(object, "high_freq_factor", where);
  spec.original_context = positive(object, "original_max_position_embeddings", where);
  LORSA_CHECK(spec.high_freq_factor > spec.low_freq_factor,
              FormatError,
              where,
              ": high_freq_factor = ",
              spec.high_freq_factor,
              ", expected more than low_freq_factor = ",
              spec.low_freq_factor);
  return spec;
}

/// Base and scaling from rope_theta and rope_scaling (transformers 4) or rope_parameters
/// (transformers 5). Where a file has both spellings they must agree.
kernels::RopeSpec read_rope(const Json& json, const std::string& where, int64_t rotary_dim) {
  constexpr double kDefaultBase = 10000.0;
  const bool has_old = json.contains("rope_scaling") && !json.at("rope_scaling").is_null();
  const bool has_new = json.contains("rope_parameters") && !json.at("rope_parameters").is_null();
  kernels::RopeSpec spec;
  spec.rotary_dim = rotary_dim;
  spec.base = member_or<double>(json, "rope_theta", where, kDefaultBase);
  if (has_new) {
    const std::string inner = where + ": rope_parameters";
    Json parameters = member<Json>(json, "rope_parameters", where);
    LORSA_CHECK(parameters.is_object(), FormatError, inner, ": expected an object");
    const auto base = member_or<double>(parameters, "rope_theta", inner, spec.base);
    LORSA_CHECK(!json.contains("rope_theta") || base == spec.base,
                FormatError,
                inner,
                ": rope_theta = ",
                base,
                " disagrees with rope_theta = ",
                spec.base,
                " beside it");
    spec.base = base;
    if (!parameters.contains("rope_type") && !parameters.contains("type")) {
      parameters["rope_type"] = "default";
    }
    spec = with_scaling(parameters, inner, spec);
  }
  if (has_old) {
    const std::string inner = where + ": rope_scaling";
    const auto scaling = member<Json>(json, "rope_scaling", where);
    LORSA_CHECK(scaling.is_object(), FormatError, inner, ": expected an object");
    kernels::RopeSpec unscaled;
    unscaled.rotary_dim = rotary_dim;
    unscaled.base = spec.base;
    const kernels::RopeSpec old_spec = with_scaling(scaling, inner, unscaled);
    LORSA_CHECK(!has_new || old_spec == spec,
                FormatError,
                where,
                ": rope_scaling and rope_parameters disagree");
    spec = old_spec;
  }
  LORSA_CHECK(spec.base > 0.0, FormatError, where, ": rope_theta = ", spec.base, ", expected > 0");
  return spec;
}

void refuse_unknown(const Json& json,
                    const std::string& where,
                    const std::string& key,
                    std::initializer_list<std::string_view> known) {
  const auto value = member_or<std::string>(json, key, where, std::string(*known.begin()));
  std::string list;
  for (const std::string_view name : known) {
    list += concat(list.empty() ? "" : ", ", name);
  }
  LORSA_CHECK(std::find(known.begin(), known.end(), value) != known.end(),
              FormatError,
              where,
              ": ",
              key,
              " \"",
              value,
              "\" is not supported; known: ",
              list);
}

std::string read_architecture(const Json& json, const std::string& where) {
  const auto list = member<Json>(json, "architectures", where);
  LORSA_CHECK(list.is_array() && list.size() == 1 && list.at(0).is_string(),
              FormatError,
              where,
              ": architectures: expected a list of one name, found ",
              list.dump());
  return list.at(0).get<std::string>();
}

void read_llama(const Json& json, const std::string& where, ModelConfig& config) {
  config.vocabulary_size = positive(json, "vocab_size", where);
  config.d_model = positive(json, "hidden_size", where);
  config.num_layers = positive(json, "num_hidden_layers", where);
  config.num_heads = positive(json, "num_attention_heads", where);
  config.num_kv_heads = positive_or(json, "num_key_value_heads", where, config.num_heads);
  config.d_mlp = positive(json, "intermediate_size", where);
  config.max_positions = positive_or(json, "max_position_embeddings", where, 2048);
  config.norm_eps = member_or<double>(json, "rms_norm_eps", where, 1e-6);
  config.tied_embeddings = member_or<bool>(json, "tie_word_embeddings", where, false);
  config.attention_bias = member_or<bool>(json, "attention_bias", where, false);
  config.mlp_bias = member_or<bool>(json, "mlp_bias", where, false);
  LORSA_CHECK(config.num_heads % config.num_kv_heads == 0,
              FormatError,
              where,
              ": num_attention_heads = ",
              config.num_heads,
              " is not a multiple of num_key_value_heads = ",
              config.num_kv_heads);
  LORSA_CHECK(config.norm_eps >= 0.0,
              FormatError,
              where,
              ": rms_norm_eps = ",
              config.norm_eps,
              ", expected >= 0");
  config.head_width = positive_or(json, "head_dim", where, 0);
  if (config.head_width == 0) {
    LORSA_CHECK(config.d_model % config.num_heads == 0,
                FormatError,
                where,
                ": without head_dim, hidden_size = ",
                config.d_model,
                " must be a multiple of num_attention_heads = ",
                config.num_heads);
    config.head_width = config.d_model / config.num_heads;
  }
  LORSA_CHECK(config.head_width % 2 == 0,
              FormatError,
              where,
              ": a head width of ",
              config.head_width,
              " is odd: rotary embeddings need pairs");
  LORSA_CHECK(member_or<double>(json, "partial_rotary_factor", where, 1.0) == 1.0,
              FormatError,
              where,
              ": partial_rotary_factor is not supported for ",
              config.architecture);
  refuse_unknown(json, where, "hidden_act", {"silu", "swish"});
  config.rope = read_rope(json, where, config.head_width);
}

std::string model_name(const Json& json,
                       const std::string& where,
                       const std::filesystem::path& folder) {
  auto recorded = member_or<std::string>(json, "_name_or_path", where, "");
  if (!recorded.empty() && !std::filesystem::path(recorded).is_absolute()) {
    return recorded;
  }
  const std::filesystem::path normal = std::filesystem::absolute(folder).lexically_normal();
  return (normal.has_filename() ? normal : normal.parent_path()).filename().string();
}

}  // namespace

ModelConfig read_model_config(const std::filesystem::path& folder) {
  const std::filesystem::path path = folder / "config.json";
  const std::string where = path.string();
  const Json json = io::read_json(path);
  LORSA_CHECK(json.is_object(), FormatError, where, ": expected an object");
  ModelConfig config;
  config.architecture = read_architecture(json, where);
  config.name = model_name(json, where, folder);
  // Informative: the weights' own dtype counts. But a folder that claims another one is not plain.
  refuse_unknown(json, where, "torch_dtype", {"float32", "bfloat16", "float16"});
  refuse_unknown(json, where, "dtype", {"float32", "bfloat16", "float16"});
  LORSA_CHECK(!json.contains("quantization_config") || json.at("quantization_config").is_null(),
              FormatError,
              where,
              ": quantised weights (quantization_config) are not supported: use a folder of plain "
              "float32, bfloat16 or float16 weights");
  if (config.architecture == "LlamaForCausalLM") {
    read_llama(json, where, config);
    return config;
  }
  throw FormatError(concat(where,
                           ": architecture \"",
                           config.architecture,
                           "\" is not supported; known: LlamaForCausalLM"));
}

}  // namespace lorsa::lm
