#pragma once

#include <filesystem>
#include <string>

#include "lorsa/core/api.h"
#include "lorsa/core/site.h"
#include "lorsa/model/dictionary.h"

namespace lorsa::model {

enum class Normalization { kScaled, kFolded };

/// What lorsa.json says beside the shape.
struct CheckpointInfo {
  Normalization normalization = Normalization::kFolded;
  double input_scale = 1.0;   ///< kScaled: what raw inputs are multiplied by first
  double target_scale = 1.0;  ///< kScaled: what raw targets were multiplied by
  std::string model_name;     ///< the language model's
  std::string weights_sha256;
  Site site;
  std::string input_convention;
  std::string training_json;  ///< a JSON object with the training's summary; "{}" if none
  /// A JSON object with what a llamascopium checkpoint said that a Lorsa has no other place for
  /// (docs/formats.md); empty if it does not come from one.
  std::string llamascopium_json;
};

struct LoadedDictionary {
  Dictionary dictionary;
  CheckpointInfo info;
};

/// Writes lorsa.json and model.safetensors into `folder` (made if absent), each atomically,
/// lorsa.json last.
LORSA_API void save_checkpoint(const std::filesystem::path& folder,
                               const Dictionary& dictionary,
                               const CheckpointInfo& info);

/// Reads a checkpoint folder. A scaled one stays scaled: call fold(info.input_scale,
/// info.target_scale) or use load_folded(). Every tensor must be there with its shape and finite
/// values: FormatError names file, tensor, expected and found.
[[nodiscard]] LORSA_API LoadedDictionary load_checkpoint(const std::filesystem::path& folder);

/// load_checkpoint(), folded if it was scaled: reads and writes raw activations.
[[nodiscard]] LORSA_API LoadedDictionary load_folded(const std::filesystem::path& folder);

}  // namespace lorsa::model
