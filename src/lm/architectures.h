#pragma once

#include <memory>
#include <string>

#include "lm/decoder.h"
#include "lorsa/io/json.h"

namespace lorsa::lm {

/// One entry of config.json's "architectures" and how it is read and run. A new architecture is one
/// more line in architectures.cpp.
struct Architecture {
  const char* name;
  const char* model_type;  ///< config.json's word for it, by which transformers chooses
  /// Fills in `config` and checks it; FormatError that names key, expected and found.
  void (*read_config)(const io::Json& json, const std::string& where, ModelConfig& config);
  std::unique_ptr<const Decoder> (*make_decoder)(const ModelConfig& config,
                                                 const WeightFiles& weights,
                                                 const Placement& placement);
};

/// Throws FormatError "<where>: architecture ..." with the known names.
[[nodiscard]] const Architecture& architecture_named(const std::string& name,
                                                     const std::string& where);

/// The architecture of config.json: the one name in `architectures` that is known, or that of
/// `model_type` where architectures is absent or empty. FormatError naming both keys where they
/// disagree, name none that is known or several.
[[nodiscard]] const Architecture& architecture_of(const io::Json& config, const std::string& where);

}  // namespace lorsa::lm
