#pragma once

#include <cstdint>
#include <string>

#include "lm/block.h"
#include "lm/weight_loader.h"
#include "lorsa/io/json.h"

namespace lorsa::lm {

/// A family of language models: what config.json calls it, how its blocks are described and what
/// its tensors are called. Nothing in it computes: every family runs through Block. A new one is a
/// file in families/ and a line in family.cpp.
struct Family {
  const char* architecture;  ///< one of config.json's "architectures"
  const char* model_type;    ///< config.json's word for it, by which transformers chooses
  Vocabulary::Names vocabulary;
  const char* final_norm;
  /// Fills in `config`, a spec for every layer included, and checks it; FormatError that names key,
  /// expected and found.
  void (*read_config)(const io::Json& json, const std::string& where, ModelConfig& config);
  /// The weights of a block, without its MLP where placement().has_mlp(layer) says so.
  BlockWeights (*load_block)(const WeightLoader& load, const ModelConfig& config, int64_t layer);
};

extern const Family kLlama;
extern const Family kQwen3;
extern const Family kGptNeox;

/// Throws FormatError "<where>: architecture ..." with the known names.
[[nodiscard]] const Family& family_named(const std::string& architecture, const std::string& where);

/// The family of config.json: the one name in `architectures` that is known, or that of
/// `model_type` where architectures is absent or empty. FormatError naming both keys where they
/// disagree, name none that is known or several.
[[nodiscard]] const Family& family_of(const io::Json& config, const std::string& where);

}  // namespace lorsa::lm
