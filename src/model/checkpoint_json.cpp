#include "model/checkpoint_json.h"

#include "io/rope_json.h"
#include "io/words.h"
#include "lorsa/core/error.h"
#include "lorsa/core/version.h"

namespace lorsa::model {
namespace {

using io::value_of;
using io::word_of;

constexpr const char* kSchema = "lorsa-checkpoint-3";
// Knew attention alone.
constexpr const char* kSecondSchema = "lorsa-checkpoint-2";
// Knew topk and topk_signed, and no virtual keys.
constexpr const char* kFirstSchema = "lorsa-checkpoint-1";

const io::Words<Normalization> kNormalizations = {{"scaled", Normalization::kScaled},
                                                  {"folded", Normalization::kFolded}};

}  // namespace

io::Json checkpoint_json(const DictionaryShape& shape, const CheckpointInfo& info) {
  io::Json json;
  json["schema"] = kSchema;
  json["kind"] = shape.kind;
  json["lorsa_version"] = version();
  json["d_model"] = shape.d_model;
  json["num_ov_heads"] = shape.num_ov_heads;
  json["num_qk_heads"] = shape.num_qk_heads;
  json["d_qk"] = shape.d_qk;
  json["top_k"] = shape.top_k;
  json["activation"] = word_of(activation_words(), shape.activation);
  json["attn_scale"] = shape.attn_scale;
  json["qk_norm"] = shape.qk_norm;
  json["qk_norm_eps"] = shape.qk_norm_eps;
  json["num_virtual_keys"] = shape.num_virtual_keys;
  json["rope"] = io::rope_to_json(shape.rope, io::RopeKeys::kAll);
  json["normalization"] = word_of(kNormalizations, info.normalization);
  json["input_scale"] = info.input_scale;
  json["target_scale"] = info.target_scale;
  json["language_model"] = {{"name", info.model_name},
                            {"weights_sha256", info.weights_sha256},
                            {"layer", info.site.layer},
                            {"component", to_string(info.site.component)},
                            {"input_convention", info.input_convention}};
  json["training"] =
      io::parse_json(info.training_json.empty() ? "{}" : info.training_json, "training summary");
  if (!info.llamascopium_json.empty()) {
    json["llamascopium"] = io::parse_json(info.llamascopium_json, "llamascopium");
  }
  return json;
}

DictionaryShape shape_of_json(const io::Json& json, const std::string& where) {
  const auto schema = io::member<std::string>(json, "schema", where);
  LORSA_CHECK(schema == kSchema || schema == kSecondSchema || schema == kFirstSchema, FormatError,
              "{}: schema: expected {}, found {}", where, kSchema, schema);
  DictionaryShape shape;
  shape.kind = io::member<std::string>(json, "kind", where);
  shape.d_model = io::member<int64_t>(json, "d_model", where);
  shape.num_ov_heads = io::member<int64_t>(json, "num_ov_heads", where);
  shape.num_qk_heads = io::member<int64_t>(json, "num_qk_heads", where);
  shape.d_qk = io::member<int64_t>(json, "d_qk", where);
  shape.top_k = io::member<int64_t>(json, "top_k", where);
  shape.activation = value_of(activation_words(), json, "activation", where);
  shape.attn_scale = io::member<double>(json, "attn_scale", where);
  shape.qk_norm = io::member<bool>(json, "qk_norm", where);
  shape.qk_norm_eps = io::member<double>(json, "qk_norm_eps", where);
  if (schema != kFirstSchema) {
    shape.num_virtual_keys = io::member<int64_t>(json, "num_virtual_keys", where);
  }
  shape.rope = io::rope_from_json(io::member<io::Json>(json, "rope", where), where + ": rope");
  try {
    validate(shape);
  } catch (const ConfigError& error) {
    throw FormatError(formatted("{}: {}", where, error.what()));
  }
  return shape;
}

CheckpointInfo info_of_json(const io::Json& json, const std::string& where) {
  CheckpointInfo info;
  info.normalization = value_of(kNormalizations, json, "normalization", where);
  info.input_scale = io::member<double>(json, "input_scale", where);
  info.target_scale = io::member<double>(json, "target_scale", where);
  LORSA_CHECK(info.input_scale > 0 && info.target_scale > 0, FormatError,
              "{}: input_scale and target_scale must be positive, found {} and {}", where,
              info.input_scale, info.target_scale);
  const auto lm = io::member<io::Json>(json, "language_model", where);
  const std::string lm_where = where + ": language_model";
  info.model_name = io::member<std::string>(lm, "name", lm_where);
  info.weights_sha256 = io::member<std::string>(lm, "weights_sha256", lm_where);
  info.site.layer = io::member<int64_t>(lm, "layer", lm_where);
  if (io::member<std::string>(json, "schema", where) == kSchema) {
    info.site.component = value_of(component_words(), lm, "component", lm_where);
  }
  info.input_convention = io::member<std::string>(lm, "input_convention", lm_where);
  info.training_json = io::member<io::Json>(json, "training", where).dump();
  if (json.contains("llamascopium")) {
    info.llamascopium_json = json["llamascopium"].dump();
  }
  return info;
}

}  // namespace lorsa::model
