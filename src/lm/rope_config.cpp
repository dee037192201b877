#include "lm/rope_config.h"

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

#include "lm/config_fields.h"
#include "lorsa/core/error.h"

namespace lorsa::lm {
namespace {

using io::Json;
using io::member;
using io::member_or;

/// A setting that is not read could change the angles: other models' (mrope_section,
/// attention_factor, one object per kind of layer) are refused by name.
void refuse_unknown_settings(const Json& object, const std::string& where) {
  constexpr std::array<std::string_view, 8> kKnown = {
      "rope_type",        "type",
      "rope_theta",       "partial_rotary_factor",
      "factor",           "low_freq_factor",
      "high_freq_factor", "original_max_position_embeddings"};
  for (const auto& [key, value] : object.items()) {
    LORSA_CHECK(value.is_null() || std::find(kKnown.begin(), kKnown.end(), key) != kKnown.end(),
                FormatError, "{}: setting \"{}\" is not supported", where, key);
  }
}

/// The rope type under its new and its old name.
std::string rope_type(const Json& object, const std::string& where, const std::string& fallback) {
  const auto old_spelling = member_or<std::string>(object, "type", where, "");
  auto type = member_or<std::string>(object, "rope_type", where,
                                     old_spelling.empty() ? fallback : old_spelling);
  LORSA_CHECK(old_spelling.empty() || type == old_spelling, FormatError,
              "{}: rope_type \"{}\" and type \"{}\" disagree", where, type, old_spelling);
  LORSA_CHECK(type == "default" || type == "linear" || type == "llama3", FormatError,
              "{}: rope type \"{}\" is not supported; known: default, linear, llama3", where, type);
  return type;
}

/// The frequency scaling of `object` (rope_scaling or rope_parameters) laid over `spec`.
kernels::RopeSpec with_scaling(const Json& object,
                               const std::string& where,
                               const std::string& default_type,
                               kernels::RopeSpec spec) {
  LORSA_CHECK(object.is_object(), FormatError, "{}: expected an object", where);
  // The type first: an unknown type is the better message than one of its settings.
  const std::string type = rope_type(object, where, default_type);
  refuse_unknown_settings(object, where);
  if (type == "default") {
    return spec;
  }
  spec.factor = positive_number(object, "factor", where);
  if (type == "linear") {
    spec.scaling = kernels::RopeScaling::kLinear;
    return spec;
  }
  spec.scaling = kernels::RopeScaling::kLlama3;
  spec.low_freq_factor = positive_number(object, "low_freq_factor", where);
  spec.high_freq_factor = positive_number(object, "high_freq_factor", where);
  spec.original_context = positive(object, "original_max_position_embeddings", where);
  LORSA_CHECK(spec.high_freq_factor > spec.low_freq_factor, FormatError,
              "{}: high_freq_factor = {}, expected more than low_freq_factor = {}", where,
              spec.high_freq_factor, spec.low_freq_factor);
  return spec;
}

/// transformers takes the whole part of head_width * share.
int64_t rotary_dim_of(double share, int64_t head_width, const std::string& where) {
  LORSA_CHECK(share > 0.0 && share <= 1.0, FormatError,
              "{}: {} of a head is rotated, expected a share above 0, at most 1", where, share);
  const auto rotary_dim = static_cast<int64_t>(static_cast<double>(head_width) * share);
  LORSA_CHECK(rotary_dim % 2 == 0, FormatError,
              "{}: {} of a head's {} dimensions are to be rotated, an odd number: rotary "
              "embeddings need pairs",
              where, rotary_dim, head_width);
  return rotary_dim;
}

}  // namespace

kernels::RopeSpec read_rope(const Json& json,
                            const std::string& where,
                            int64_t head_width,
                            const RopeKeys& keys) {
  constexpr double kDefaultBase = 10000.0;
  const std::string in_new = where + ": rope_parameters";
  const std::string in_old = where + ": rope_scaling";
  const Json parameters = member_or<Json>(json, "rope_parameters", where, nullptr);
  const Json scaling = member_or<Json>(json, "rope_scaling", where, nullptr);
  AgreedNumber base;
  AgreedNumber share;
  for (const std::string& key : keys.base) {
    base.take(json, key, where);
  }
  for (const std::string& key : keys.share) {
    share.take(json, key, where);
  }
  for (const auto& [object, name] :
       {std::pair(&parameters, &in_new), std::pair(&scaling, &in_old)}) {
    if (object->is_object()) {
      base.take(*object, "rope_theta", *name);
      share.take(*object, "partial_rotary_factor", *name);
    }
  }
  kernels::RopeSpec plain;
  plain.base = base.value_or(kDefaultBase);
  LORSA_CHECK(plain.base > 0.0, FormatError, "{}: rope_theta = {}, not > 0", where, plain.base);
  plain.rotary_dim = rotary_dim_of(share.value_or(keys.default_share), head_width, where);
  kernels::RopeSpec spec =
      parameters.is_null() ? plain : with_scaling(parameters, in_new, "default", plain);
  if (!scaling.is_null()) {
    const kernels::RopeSpec old_spec = with_scaling(scaling, in_old, "", plain);
    LORSA_CHECK(parameters.is_null() || old_spec == spec, FormatError,
                "{}: rope_scaling and rope_parameters disagree", where);
    spec = old_spec;
  }
  return spec;
}

}  // namespace lorsa::lm
