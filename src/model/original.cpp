#include <ATen/ATen.h>

#include <cmath>
#include <set>

#include "core/file_content.h"
#include "io/folder_kind.h"
#include "lorsa/core/error.h"
#include "lorsa/io/json.h"
#include "lorsa/model/interchange.h"
#include "model/foreign_tensors.h"
#include "model/torch_archive.h"
#include "model/weight_layout.h"

namespace lorsa::model {
namespace {

namespace fs = std::filesystem;

constexpr const char* kConfig = "config.json";
constexpr const char* kWeights = "final.pth";

// All that its LorsaConfig has had.
const std::set<std::string> kKeys = {"d_qk_head",
                                     "d_ov_head",
                                     "n_qk_heads",
                                     "n_ov_heads",
                                     "device",
                                     "dtype",
                                     "virtual_kv_num",
                                     "use_z_relu",
                                     "n_ctx",
                                     "layer",
                                     "model_name",
                                     "use_flash_lorsa",
                                     "mode",
                                     "top_k",
                                     "init_jumprelu_threshold",
                                     "avg_norm",
                                     "d_model",
                                     "attn_scale",
                                     "positional_embedding_type",
                                     "rotary_scale",
                                     "rotary_dim",
                                     "rotary_base",
                                     "rotary_adjacent_pairs",
                                     "use_NTK_by_parts_rope",
                                     "NTK_by_parts_low_freq_factor",
                                     "NTK_by_parts_high_freq_factor",
                                     "NTK_by_parts_factor",
                                     "old_context_len"};

// It writes null where it was told nothing.
bool is_given(const io::Json& config, const std::string& key) {
  const auto found = config.find(key);
  return found != config.end() && !found->is_null();
}

io::Json given_members(const io::Json& config) {
  io::Json given = io::Json::object();
  for (const auto& [key, value] : config.items()) {
    if (!value.is_null()) {
      given[key] = value;
    }
  }
  return given;
}

DictionaryShape shape_of(const io::Json& config, const std::string& where) {
  DictionaryShape shape;
  shape.d_model = size_member(config, "d_model", where);
  shape.num_ov_heads = size_member(config, "n_ov_heads", where);
  shape.num_qk_heads = size_member(config, "n_qk_heads", where);
  shape.d_qk = size_member(config, "d_qk_head", where);
  const int64_t d_ov = size_member(config, "d_ov_head", where);
  LORSA_CHECK(d_ov == 1, FormatError, "{}: d_ov_head: expected 1, found {}", where, d_ov);
  const auto mode = io::member<std::string>(config, "mode", where);
  LORSA_CHECK(mode == "top_k", FormatError,
              "{}: mode: expected top_k (no released code has others), found {}", where, mode);
  shape.top_k = size_member(config, "top_k", where);
  shape.activation = io::member_or<bool>(config, "use_z_relu", where, false)
                         ? Activation::kTopK
                         : Activation::kTopKSigned;
  shape.num_virtual_keys = io::member_or<int64_t>(config, "virtual_kv_num", where, 0);
  LORSA_CHECK(shape.num_virtual_keys >= 0, FormatError,
              "{}: virtual_kv_num: expected a number >= 0: {}", where, shape.num_virtual_keys);
  shape.attn_scale = io::member_or<double>(config, "attn_scale", where,
                                           std::sqrt(static_cast<double>(shape.d_qk)));
  const auto position =
      io::member_or<std::string>(config, "positional_embedding_type", where, std::string("rotary"));
  const bool rotates = position == "rotary";
  LORSA_CHECK(rotates || position == "default" || position == "standard" || position == "none",
              FormatError,
              "{}: positional_embedding_type: expected rotary, default, standard or none, found {}",
              where, position);
  shape.rope = rope_of_config(given_members(config), rotates, /*adjacent_pairs_default=*/false,
                              shape.d_qk, where);
  validate_read(shape, where);
  return shape;
}

std::optional<Scales> scales_of(const io::Json& config, int64_t d_model, const std::string& where) {
  if (!is_given(config, "avg_norm")) {
    return std::nullopt;
  }
  const auto norms = io::member<io::Json>(config, "avg_norm", where);
  const auto scale = [&](const char* side) {
    const auto norm = io::member<double>(norms, side, where + ": avg_norm");
    LORSA_CHECK(norm > 0.0, FormatError, "{}: avg_norm: {}: expected a positive number, found {}",
                where, side, norm);
    return std::sqrt(static_cast<double>(d_model)) / norm;
  };
  return Scales{scale("in"), scale("out")};
}

DictionaryWeights read_weights(ForeignTensors& tensors, const DictionaryShape& shape) {
  const int64_t D = shape.d_model;
  const int64_t H = shape.num_ov_heads;
  const std::vector<int64_t> projection = {shape.num_qk_heads, D, shape.d_qk};
  DictionaryWeights weights;
  weights.W_Q = rows_of_heads(tensors.weight("W_Q", projection));
  weights.W_K = rows_of_heads(tensors.weight("W_K", projection));
  weights.b_Q = tensors.weight("b_Q", {shape.num_qk_heads, shape.d_qk});
  weights.b_K = tensors.weight("b_K", {shape.num_qk_heads, shape.d_qk});
  weights.W_V = tensors.weight("W_V", {H, D, 1}).view({H, D});
  weights.b_V = tensors.weight("b_V", {H, 1}).view({H});
  weights.W_O = tensors.weight("W_O", {H, 1, D}).view({H, D});
  weights.b_D = tensors.weight("b_O", {D});
  if (shape.num_virtual_keys > 0) {
    weights.virtual_k =
        tensors.weight("virtual_k", {shape.num_virtual_keys, shape.num_qk_heads, shape.d_qk});
  }
  return weights;
}

void check_virtual_values(ForeignTensors& tensors,
                          const DictionaryShape& shape,
                          const std::string& file) {
  if (shape.num_virtual_keys > 0) {
    const at::Tensor values =
        tensors.weight("virtual_v", {shape.num_virtual_keys, shape.num_ov_heads, 1});
    LORSA_CHECK(!values.any().item<bool>(), FormatError,
                "{}: tensor \"virtual_v\": expected zeros, found up to {}", file,
                values.abs().max().item<double>());
  }
}

std::vector<std::string> remarks_on(const io::Json& config,
                                    const DictionaryShape& shape,
                                    const std::string& where) {
  std::vector<std::string> remarks;
  for (const auto& [key, unused] : config.items()) {
    if (!kKeys.contains(key)) {
      remarks.push_back(formatted("{}: {}: an unknown key, passed over", where, key));
    }
  }
  if (!is_given(config, "layer")) {
    remarks.push_back(formatted("{}: layer: says nothing; read as -1", where));
  }
  if (shape.num_virtual_keys > 0) {
    remarks.push_back(
        formatted("{}: virtual_kv_num: read as keys that every query meets; the released code puts "
                  "them behind the others under a mask moved by {}, so that queries there meet "
                  "keys after their own position",
                  where, shape.num_virtual_keys));
  }
  return remarks;
}

}  // namespace

ImportedDictionary load_original(const fs::path& folder, ReadAs read_as) {
  const std::string where = (folder / kConfig).string();
  const fs::path file = folder / kWeights;
  LORSA_CHECK(is_there(folder / kConfig) && is_there(file), IoError,
              "{}: no checkpoint of the original repository here: expected {} and {}, {}", folder,
              kConfig, kWeights, io::found_instead(folder, io::Place::kForeignCheckpoint));
  const io::Json config = io::read_json(folder / kConfig);
  const DictionaryShape shape = shape_of(config, where);
  const std::optional<Scales> scales = scales_of(config, shape.d_model, where);
  CheckpointInfo info;
  info.training_json = "{}";
  info.model_name = io::member_or<std::string>(config, "model_name", where, std::string());
  info.site.layer = io::member_or<int64_t>(config, "layer", where, -1);
  apply_reading(read_as, Normalization::kScaled, scales, where + ": avg_norm", info);

  ForeignTensors tensors(file.string(), read_torch_state_dict(file));
  DictionaryWeights weights = read_weights(tensors, shape);
  check_virtual_values(tensors, shape, file.string());
  const int64_t n_ctx = is_given(config, "n_ctx") ? size_member(config, "n_ctx", where) : 256;
  tensors.check_mask(n_ctx, shape.num_virtual_keys);
  tensors.check_ignore();
  if (shape.rope.rotary_dim > 0) {
    tensors.check_rotary(shape.rope, n_ctx);
  }
  tensors.check_all_read();
  return {{Dictionary(shape, std::move(weights)), info},
          scales,
          "avg_norm",
          /*certain=*/true,
          tensors.dtypes(),
          remarks_on(config, shape, where)};
}

}  // namespace lorsa::model
