#pragma once

#include <cstdint>
#include <string>

#include "lorsa/config/fields.h"
#include "lorsa/core/api.h"
#include "lorsa/kernels/mhsa.h"
#include "lorsa/model/dictionary.h"
#include "lorsa/model/initialize.h"

namespace lorsa::model {

/// The `model:` section: what a person chooses of a dictionary; the rest of its shape follows from
/// the layer.
struct DictionarySettings {
  std::string kind = "lorsa";  ///< a name of kinds()
  int64_t num_ov_heads = 0;
  int64_t num_qk_heads = 0;
  int64_t d_qk = 0;
  int64_t top_k = 0;
  Activation activation = Activation::kTopK;
  double attn_scale = 0.0;
  int64_t num_virtual_keys = 0;
};

/// Adds the keys of `model:` (the section must be open).
LORSA_API void describe(config::Fields& fields, DictionarySettings& settings);

/// Settings that contradict each other whatever the layer: ConfigError naming both keys. `qk` is
/// what train.freeze asks for.
LORSA_API void validate(const DictionarySettings& settings,
                        const InitConfig& init,
                        StepOptions::Qk qk);

/// The shape on a site of width d_model. A Lorsa takes rotation, QK norm and, where d_qk is its
/// head width, the attention scale of `layer`, the attention that it stands for; others need none.
[[nodiscard]] LORSA_API DictionaryShape shape_of(const DictionarySettings& settings,
                                                 int64_t d_model,
                                                 const kernels::Mhsa* layer);

}  // namespace lorsa::model
