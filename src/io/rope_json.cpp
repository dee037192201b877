#include "io/rope_json.h"

namespace lorsa::io {
namespace {

using kernels::RopeScaling;

const Words<RopeScaling> kScalings = {{"none", RopeScaling::kNone},
                                      {"linear", RopeScaling::kLinear},
                                      {"llama3", RopeScaling::kLlama3}};

/// Calls field(key, number, whether the scaling uses it).
void for_each_scaling_number(auto& rope, const auto& field) {
  field("factor", rope.factor, rope.scaling != RopeScaling::kNone);
  field("low_freq_factor", rope.low_freq_factor, rope.scaling == RopeScaling::kLlama3);
  field("high_freq_factor", rope.high_freq_factor, rope.scaling == RopeScaling::kLlama3);
  field("original_context", rope.original_context, rope.scaling == RopeScaling::kLlama3);
}

}  // namespace

Json rope_to_json(const kernels::RopeSpec& rope, RopeKeys keys) {
  Json json = {{"rotary_dim", rope.rotary_dim}, {"base", rope.base}};
  if (keys == RopeKeys::kUsed) {
    json["layout"] = nullptr;  // its place
  }
  json["scaling"] = word_of(kScalings, rope.scaling);
  for_each_scaling_number(rope, [&](const char* key, auto value, bool is_used) {
    if (is_used || keys == RopeKeys::kAll) {
      json[key] = value;
    }
  });
  json["layout"] = word_of(kRopeLayouts, rope.layout);
  return json;
}

kernels::RopeSpec rope_from_json(const Json& json, const std::string& where) {
  kernels::RopeSpec rope;
  rope.rotary_dim = member<int64_t>(json, "rotary_dim", where);
  rope.base = member<double>(json, "base", where);
  rope.layout = value_of(kRopeLayouts, json, "layout", where);
  rope.scaling = value_of(kScalings, json, "scaling", where);
  for_each_scaling_number(rope, [&]<typename T>(const char* key, T& value, bool is_used) {
    value = is_used ? member<T>(json, key, where) : member_or<T>(json, key, where, value);
  });
  LORSA_CHECK(rope.rotary_dim >= 0 && rope.original_context >= 1, FormatError,
              "{}: expected rotary_dim >= 0 and original_context >= 1, found {} and {}", where,
              rope.rotary_dim, rope.original_context);
  return rope;
}

}  // namespace lorsa::io
