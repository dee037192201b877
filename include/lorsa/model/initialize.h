#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "lorsa/config/fields.h"
#include "lorsa/core/api.h"
#include "lorsa/kernels/mhsa.h"
#include "lorsa/model/dictionary.h"

namespace lorsa::model {

enum class QkInit { kRandom, kMhsa };
enum class OvInit { kRandom, kActiveSubspace };

/// The `init:` section.
struct InitConfig {
  QkInit qk = QkInit::kRandom;
  OvInit ov = OvInit::kRandom;
  bool norm_search = true;
  double jumprelu_threshold = 0.1;
};

/// Adds the keys of `init:` (the section must be open).
LORSA_API void describe(config::Fields& fields, InitConfig& config);

/// One batch of scaled activations that initialisation may look at, and the layer it stands for.
struct InitSample {
  at::Tensor input_BTD;      ///< times input_scale
  at::Tensor target_BTD;     ///< times target_scale
  at::Tensor scored_BT;      ///< bool
  at::Tensor target_mean_D;  ///< over the whole cache, times target_scale
  double input_scale = 1.0;
  const kernels::Mhsa* attention =
      nullptr;  ///< the layer's own attention on raw inputs; needed for mhsa and active_subspace
};

/// Weights before training, float32 on the CPU.
///
/// `random` QK: Xavier-uniform. `mhsa`: QK head s copies MHSA head floor(s N / S), the input scale
/// divided out, biases and QK-norm gains too. `random` OV: W_V rows N(0, 1/D), W_O rows unit-norm.
/// `active_subspace` (arXiv 2508.16929): rows w_v = U r, U the top directions of what the MHSA head
/// reads on the sample, w_o what that head would write for w_v; both unit-norm. With norm_search
/// W_V is scaled so that the sample's loss is least: the output is linear in that scale, so the
/// search is exact; without it, or where no positive scale lowers the loss, so that the output's
/// variance matches the target's. b_D is the mean target. Thresholds are jumprelu_threshold,
/// virtual keys N(0, 1/E).
///
/// An SAE's encoder and decoder rows are alike and unit-norm (Gao et al. 2024), random or inside
/// the directions that hold 95 % of the target's variance on the sample; its sample's input is the
/// target. A transcoder's rows start apart: the encoder's so in the input, the decoder's so in the
/// target.
///
/// Throws ConfigError where sizes do not fit (E unlike A, fewer QK heads than MHSA heads, QK norm
/// on one side only), naming both.
[[nodiscard]] LORSA_API DictionaryWeights initialize(const DictionaryShape& shape,
                                                     const InitConfig& config,
                                                     const InitSample& sample,
                                                     uint64_t seed);

/// The Lorsa that is the layer: an OV head for each of the A directions of each of its N heads, all
/// kept (K = H = N A, signed activations), a QK head for each query head. Folded: reads and writes
/// raw activations. Its weights' dtype and device.
[[nodiscard]] LORSA_API Dictionary of_attention(const kernels::Mhsa& layer);

}  // namespace lorsa::model
