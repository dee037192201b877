#include <ATen/ATen.h>

#include <map>

#include "core/file_content.h"
#include "io/folder_kind.h"
#include "lorsa/core/error.h"
#include "lorsa/io/json.h"
#include "lorsa/io/safetensors.h"
#include "lorsa/model/interchange.h"
#include "model/checkpoint_json.h"
#include "model/foreign_tensors.h"
#include "model/llamascopium_config.h"
#include "model/llamascopium_files.h"
#include "model/weight_layout.h"

namespace lorsa::model {
namespace {

namespace fs = std::filesystem;

constexpr const char* kLanguageModel = "lm_config.json";

io::NamedTensors views_of(const io::SafetensorsReader& reader) {
  io::NamedTensors tensors;
  for (const std::string& name : reader.names()) {
    tensors.emplace_back(name, reader.view(name));
  }
  return tensors;
}

DictionaryWeights read_weights(ForeignTensors& tensors, const PeerConfig& peer) {
  const DictionaryShape& shape = peer.shape;
  DictionaryWeights weights;
  for (const std::string& name : weight_names(shape)) {
    if (name == "b_D" && !peer.decoder_bias) {
      weights.b_D = at::zeros({shape.d_model});
    } else if (is_projection(name)) {
      weights.at(name) =
          rows_of_heads(tensors.weight(name, {shape.num_qk_heads, shape.d_model, shape.d_qk}));
    } else {
      weights.at(name) = tensors.weight(peer_name(name), weight_shape(shape, name));
    }
  }
  return weights;
}

void check_buffers(ForeignTensors& tensors, const PeerConfig& peer) {
  tensors.check_mask(peer.n_ctx, 0);
  tensors.check_ignore();
  if (peer.shape.rope.rotary_dim > 0) {
    tensors.check_rotary(peer.shape.rope, peer.n_ctx);
  }
}

std::optional<PeerNorms> read_norms(ForeignTensors& tensors, const PeerConfig& peer) {
  const std::string in = kPeerNormPrefix + peer.hook_in;
  const std::string out = kPeerNormPrefix + peer.hook_out;
  if (peer.normalization == Normalization::kFolded && !tensors.contains(in) &&
      !tensors.contains(out)) {
    return std::nullopt;
  }
  return PeerNorms{tensors.number(in), tensors.number(out)};
}

/// The language model's name in lm_config.json, which published checkpoints have.
std::string model_name_of(const fs::path& folder) {
  const fs::path path = folder / kLanguageModel;
  if (!fs::exists(path)) {
    return "";
  }
  return io::member_or<std::string>(io::read_json(path), "model_name", path.string(),
                                    std::string());
}

/// `rope` with what its scaling does not use as the defaults have it.
kernels::RopeSpec used_part(const kernels::RopeSpec& rope) {
  kernels::RopeSpec used;
  used.rotary_dim = rope.rotary_dim;
  used.base = rope.base;
  used.layout = rope.layout;
  used.scaling = rope.scaling;
  if (rope.scaling != kernels::RopeScaling::kNone) {
    used.factor = rope.factor;
    used.low_freq_factor = rope.low_freq_factor;
    used.high_freq_factor = rope.high_freq_factor;
    used.original_context = rope.original_context;
  }
  return used;
}

/// Takes over what save_llamascopium() put under kOwnKey. It may add to what the other keys say,
/// not contradict it.
void apply_own(const io::Json& own,
               const std::string& where,
               DictionaryShape& shape,
               CheckpointInfo& info) {
  io::Json json = checkpoint_json(shape, info);
  for (const auto& [key, value] : own.items()) {
    LORSA_CHECK(
        key == "rope" || key == "input_scale" || key == "target_scale" || key == "language_model" ||
            key == "training",
        FormatError,
        "{}: expected only rope, input_scale, target_scale, language_model and training, found {}",
        where, key);
    json[key] = value;
  }
  const DictionaryShape own_shape = shape_of_json(json, where);
  const CheckpointInfo own_info = info_of_json(json, where);
  const auto agrees = [&](bool holds, const char* what, const char* with) {
    LORSA_CHECK(
        holds, FormatError,
        "{}: {}: expected what agrees with {}, found another value (edited? then remove this key)",
        where, what, with);
  };
  agrees(used_part(own_shape.rope) == used_part(shape.rope), "rope", "the rotary keys");
  agrees(own_info.site.layer == info.site.layer, "language_model.layer", "hook_point_in");
  if (info.normalization == Normalization::kScaled) {
    const PeerNorms a = norms_of_scales(shape.d_model, own_info);
    const PeerNorms b = norms_of_scales(shape.d_model, info);
    agrees(a.input == b.input, "input_scale", "the mean norm of hook_point_in");
    agrees(a.target == b.target, "target_scale", "the mean norm of hook_point_out");
  }
  shape = own_shape;
  info = own_info;
}

/// What the folder says that a Lorsa has no other place for, as CheckpointInfo keeps it.
std::string kept_text(const io::Json& config,
                      const PeerConfig& peer,
                      const DictionaryShape& shape,
                      const CheckpointInfo& info,
                      const std::optional<PeerNorms>& norms,
                      const std::map<std::string, std::string>& metadata,
                      const std::string& where) {
  io::Json kept = io::Json::object();
  CheckpointInfo stated = info;
  stated.normalization = peer.normalization;
  const io::Json rest = differing(config, peer_config_of(shape, stated, kDefaultContext, where));
  if (!rest.empty()) {
    kept["config"] = rest;
  }
  if (metadata != std::map<std::string, std::string>{{"version", kPeerVersion}}) {
    kept["metadata"] = metadata;
  }
  const PeerNorms ours = norms_of_scales(shape.d_model, info);
  if (norms && norms->finite() && (norms->input != ours.input || norms->target != ours.target)) {
    kept["norms"] = {norms->input, norms->target};
  }
  return kept.empty() ? "" : kept.dump();
}

std::vector<std::string> remarks_on(const io::Json& config,
                                    const PeerConfig& peer,
                                    const std::string& where) {
  std::vector<std::string> remarks;
  for (const auto& [key, unused] : config.items()) {
    if (!is_peer_key(key)) {
      remarks.push_back(formatted("{}: {}: an unknown key, kept as it is", where, key));
    }
  }
  if (peer.shape.activation == Activation::kJumpRelu &&
      peer.normalization == Normalization::kFolded) {
    remarks.push_back(
        formatted("{}: llamascopium folds weights without the jumprelu thresholds: if it folded "
                  "these, too many or too few heads act; check their number",
                  where));
  }
  return remarks;
}

}  // namespace

ImportedDictionary load_llamascopium(const fs::path& folder, ReadAs read_as) {
  const std::string where = (folder / kPeerConfigFile).string();
  LORSA_CHECK(is_there(folder / kPeerConfigFile) && is_there(folder / kPeerWeightsFile), IoError,
              "{}: no llamascopium checkpoint here: expected {} and {}, {}", folder,
              kPeerConfigFile, kPeerWeightsFile,
              io::found_instead(folder, io::Place::kForeignCheckpoint));
  io::Json config = io::read_json(folder / kPeerConfigFile);
  LORSA_CHECK(config.is_object(), FormatError, "{}: expected an object, found {}", where,
              config.type_name());
  io::Json own = io::Json::object();
  if (config.contains(kOwnKey)) {
    own = config[kOwnKey];
    config.erase(kOwnKey);
    LORSA_CHECK(own.is_object(), FormatError, "{}: {}: expected an object", where, kOwnKey);
  }
  const PeerConfig peer = parse_peer_config(config, where);
  const io::SafetensorsReader reader(folder / kPeerWeightsFile);
  ForeignTensors tensors(reader.path().string(), views_of(reader));
  DictionaryWeights weights = read_weights(tensors, peer);
  check_buffers(tensors, peer);
  const std::optional<PeerNorms> norms = read_norms(tensors, peer);
  tensors.check_all_read();

  std::optional<Scales> scales;
  if (norms && norms->usable()) {
    scales = Scales{scale_of_norm(peer.shape.d_model, norms->input),
                    scale_of_norm(peer.shape.d_model, norms->target)};
  }
  DictionaryShape shape = peer.shape;
  CheckpointInfo info;
  info.site.layer = peer.layer;
  info.model_name = model_name_of(folder);
  info.training_json = "{}";
  apply_reading(ReadAs::kStated, peer.normalization, scales, reader.path().string(), info);
  apply_own(own, where + ": " + kOwnKey, shape, info);
  info.llamascopium_json = kept_text(config, peer, shape, info, norms, reader.metadata(), where);
  if (read_as != ReadAs::kStated) {
    const CheckpointInfo stated = info;
    apply_reading(read_as, peer.normalization, scales, reader.path().string(), info);
    if (peer.normalization == Normalization::kScaled) {
      // As exact as they were stated.
      info.input_scale = stated.input_scale;
      info.target_scale = stated.target_scale;
    }
  }
  return {{Dictionary(shape, std::move(weights)), info},
          scales,
          peer.stated,
          // With our key in it, nothing of llamascopium's has written config.json since we did.
          peer.normalization == Normalization::kFolded || !own.empty(),
          tensors.dtypes(),
          remarks_on(config, peer, where)};
}

}  // namespace lorsa::model
