#pragma once

#include <ATen/ATen.h>

#include <filesystem>
#include <functional>

#include "lorsa/core/error.h"
#include "lorsa/io/json.h"
#include "lorsa/io/safetensors.h"
#include "lorsa/model/interchange.h"
#include "support/test.h"
#include "support/throws.h"

// Golden folders of llamascopium's, and edited copies of them.

namespace lorsa::test {

inline constexpr const char* kPeerWeights = "sae_weights.safetensors";

inline std::filesystem::path peer(const std::string& name) {
  return golden("interchange/" + name);
}

inline void copy_folder(const std::filesystem::path& from, const std::filesystem::path& to) {
  std::filesystem::create_directories(to);
  for (const char* file : {"config.json", kPeerWeights}) {
    std::filesystem::copy_file(from / file, to / file);
  }
}

/// A copy of the golden folder `name` whose config.json `edit` has changed.
inline std::filesystem::path with_config(const TempDir& dir,
                                         const std::string& name,
                                         const std::function<void(io::Json&)>& edit) {
  const std::filesystem::path folder = dir / "edited";
  copy_folder(peer(name), folder);
  io::Json config = io::read_json(folder / "config.json");
  edit(config);
  io::write_json(folder / "config.json", config);
  return folder;
}

/// A copy of the golden folder `name` with another tensor under `tensor`; an undefined one removes
/// it.
inline std::filesystem::path with_tensor(const TempDir& dir,
                                         const std::string& name,
                                         const std::string& tensor,
                                         const at::Tensor& value) {
  const std::filesystem::path folder = dir / "edited";
  copy_folder(peer(name), folder);
  const io::SafetensorsReader reader(peer(name) / kPeerWeights);
  io::NamedTensors tensors;
  for (const std::string& other : reader.names()) {
    if (other != tensor) {
      tensors.emplace_back(other, reader.read(other));
    }
  }
  if (value.defined()) {
    tensors.emplace_back(tensor, value);
  }
  io::write_safetensors(folder / kPeerWeights, tensors);
  return folder;
}

inline void require_refused(const std::filesystem::path& folder,
                            const std::vector<std::string>& parts) {
  require_parts(
      message_of<FormatError>([&] { static_cast<void>(model::load_llamascopium(folder)); }), parts);
}

/// What a trained checkpoint says beside its shape.
inline model::CheckpointInfo trained_info() {
  model::CheckpointInfo info;
  info.normalization = model::Normalization::kScaled;
  info.input_scale = 1.0 / 3.0;
  info.target_scale = 0.7123456789012345;
  info.model_name = "tiny";
  info.weights_sha256 = "abc";
  info.site.layer = 3;
  info.input_convention = "rms_normalized";
  info.training_json = R"({"tokens":12,"seconds":0.1})";
  return info;
}

}  // namespace lorsa::test
