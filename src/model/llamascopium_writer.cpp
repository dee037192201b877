#include <ATen/ATen.h>

#include <algorithm>
#include <limits>
#include <map>

#include "lorsa/core/error.h"
#include "lorsa/io/files.h"
#include "lorsa/io/json.h"
#include "lorsa/io/safetensors.h"
#include "lorsa/model/interchange.h"
#include "model/checkpoint_json.h"
#include "model/foreign_tensors.h"
#include "model/kind.h"
#include "model/llamascopium_config.h"
#include "model/llamascopium_files.h"
#include "model/weight_layout.h"

namespace lorsa::model {
namespace {

constexpr const char* kKept = "lorsa.json: llamascopium";

/// What the checkpoint came with, each member of the type that it must have.
io::Json kept_of(const CheckpointInfo& info) {
  io::Json kept =
      io::parse_json(info.llamascopium_json.empty() ? "{}" : info.llamascopium_json, kKept);
  LORSA_CHECK(kept.is_object(), FormatError, "{}: expected an object, found {}", kKept,
              kept.type_name());
  for (const char* key : {"config", "metadata"}) {
    LORSA_CHECK(!kept.contains(key) || kept[key].is_object(), FormatError,
                "{}: {}: expected an object", kKept, key);
  }
  return kept;
}

/// config.json without kOwnKey.
io::Json plain_config(const Dictionary& dictionary,
                      const CheckpointInfo& info,
                      std::optional<int64_t> n_ctx,
                      const std::string& where) {
  const io::Json kept = kept_of(info);
  io::Json config =
      peer_config_of(dictionary.shape(), info, n_ctx.value_or(kDefaultContext), where);
  if (kept.contains("config")) {
    restore_kept(config, kept["config"], dictionary, info.site.layer);
  }
  if (n_ctx) {
    config["n_ctx"] = *n_ctx;
  }
  return config;
}

PeerNorms norms_to_write(const DictionaryShape& shape, const CheckpointInfo& info) {
  const io::Json kept = kept_of(info);
  if (info.normalization == Normalization::kFolded && kept.contains("norms")) {
    const io::Json& norms = kept["norms"];
    LORSA_CHECK(
        norms.is_array() && norms.size() == 2 && norms[0].is_number() && norms[1].is_number(),
        FormatError, "{}: norms: expected two numbers, found {}", kKept, norms.dump());
    return {norms[0].get<double>(), norms[1].get<double>()};
  }
  return norms_of_scales(shape.d_model, info);
}

/// The Lorsa's own fields that `config` and `norms` alone would not give back.
io::Json own_fields(const io::Json& config,
                    const PeerNorms& norms,
                    const DictionaryShape& shape,
                    const CheckpointInfo& info,
                    const std::string& where) {
  const PeerConfig peer = parse_peer_config(config, where);
  CheckpointInfo read;
  read.site.layer = peer.layer;
  read.normalization = peer.normalization;
  if (peer.normalization == Normalization::kScaled) {
    read.input_scale = scale_of_norm(shape.d_model, norms.input);
    read.target_scale = scale_of_norm(shape.d_model, norms.target);
  }
  io::Json own = differing(checkpoint_json(shape, info), checkpoint_json(peer.shape, read));
  own.erase("llamascopium");
  return own;
}

io::Json full_config(const Dictionary& dictionary,
                     const CheckpointInfo& info,
                     std::optional<int64_t> n_ctx,
                     const std::string& where) {
  LORSA_CHECK(&kind_of(dictionary.shape().kind) == &kLorsa, FormatError,
              "{}: kind: expected lorsa, found {}: this writes llamascopium's Lorsas alone", where,
              dictionary.shape().kind);
  io::Json config = plain_config(dictionary, info, n_ctx, where);
  const DictionaryShape& shape = dictionary.shape();
  const io::Json own = own_fields(config, norms_to_write(shape, info), shape, info, where);
  if (!own.empty()) {
    config[kOwnKey] = own;
  }
  return config;
}

/// As Python's json.dump(indent=4) writes it.
std::string text_of(const io::Json& config) {
  return config.dump(4, ' ', /*ensure_ascii=*/true);
}

io::NamedTensors tensors_to_write(const Dictionary& dictionary,
                                  const CheckpointInfo& info,
                                  const PeerConfig& peer) {
  const DictionaryShape& shape = dictionary.shape();
  io::NamedTensors tensors;
  for (const auto& [name, tensor] : dictionary.weights().named()) {
    if (name != "b_D" || peer.decoder_bias) {
      tensors.emplace_back(peer_name(name),
                           is_projection(name) ? heads_of_rows(shape, *tensor) : *tensor);
    }
  }
  const PeerNorms norms = norms_to_write(shape, info);
  const auto number = [](double value) { return at::scalar_tensor(value, at::kFloat); };
  tensors.emplace_back("IGNORE", number(-std::numeric_limits<double>::infinity()));
  tensors.emplace_back(kPeerNormPrefix + peer.hook_in, number(norms.input));
  tensors.emplace_back(kPeerNormPrefix + peer.hook_out, number(norms.target));
  if (shape.rope.rotary_dim > 0) {
    const auto [sin, cos] = rotary_tables(shape.rope, peer.n_ctx);
    tensors.emplace_back("rotary_sin", sin);
    tensors.emplace_back("rotary_cos", cos);
  }
  // The order of the safetensors library: by dtype, wide ones first, then by name.
  std::sort(tensors.begin(), tensors.end(),
            [](const auto& a, const auto& b) { return a.first < b.first; });
  return tensors;
}

/// The mask, which stands last in that order.
io::MadeTensor mask_to_write(int64_t n_ctx) {
  return {"mask", at::kBool, n_ctx, n_ctx, [n_ctx](int64_t first, int64_t count) {
            return causal_mask_rows(first, count, n_ctx, 0);
          }};
}

}  // namespace

std::string llamascopium_config(const Dictionary& dictionary,
                                const CheckpointInfo& info,
                                std::optional<int64_t> n_ctx) {
  return text_of(full_config(dictionary, info, n_ctx, "llamascopium"));
}

double llamascopium_bytes(const Dictionary& dictionary,
                          const CheckpointInfo& info,
                          std::optional<int64_t> n_ctx) {
  const io::Json config = full_config(dictionary, info, n_ctx, "llamascopium");
  const auto length = static_cast<double>(parse_peer_config(config, "llamascopium").n_ctx);
  double bytes = length * length;
  // The rotary tables, float32 both.
  bytes += 2.0 * 4.0 * length * static_cast<double>(dictionary.shape().rope.rotary_dim);
  for (const auto& [name, tensor] : dictionary.weights().named()) {
    bytes += static_cast<double>(tensor->nbytes());
  }
  return bytes;
}

void save_llamascopium(const std::filesystem::path& folder,
                       const Dictionary& dictionary,
                       const CheckpointInfo& info,
                       std::optional<int64_t> n_ctx) {
  const std::string where = (folder / kPeerConfigFile).string();
  const io::Json config = full_config(dictionary, info, n_ctx, where);
  const PeerConfig peer = parse_peer_config(config, where);
  std::map<std::string, std::string> metadata = {{"version", kPeerVersion}};
  const io::Json kept = kept_of(info);
  if (kept.contains("metadata")) {
    metadata.clear();
    for (const auto& [key, unused] : kept["metadata"].items()) {
      metadata[key] =
          io::member<std::string>(kept["metadata"], key, formatted("{}: metadata", kKept));
    }
  }
  io::make_directories(folder);
  io::write_safetensors(folder / kPeerWeightsFile, tensors_to_write(dictionary, info, peer),
                        metadata, {mask_to_write(peer.n_ctx)});
  io::write_file(folder / kPeerConfigFile, text_of(config));
}

}  // namespace lorsa::model
