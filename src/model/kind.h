#pragma once

#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>

#include "lorsa/model/dictionary.h"
#include "lorsa/model/initialize.h"

namespace lorsa::model {

/// What tells one kind of dictionary from another: where it stands, whether attention makes its z,
/// how its weights start and what files call them. Selection, decoding, penalties and AuxK are the
/// same for all. A new kind is a file in kinds/ and a line in kinds.cpp.
struct Kind {
  KindInfo info;
  bool attends;          ///< has QK heads: z = attention of v; else z = v = W_V x + b_V
  bool has_field_names;  ///< checkpoints call W_V, b_V, W_O, b_D the encoder and the decoder
  /// Fills in W_V, b_V, W_O and what attention needs; b_D is there.
  void (*start)(const DictionaryShape& shape,
                const InitConfig& config,
                const InitSample& sample,
                uint64_t seed,
                DictionaryWeights& weights);
};

extern const Kind kLorsa;
extern const Kind kSae;
extern const Kind kTranscoder;

/// Throws ConfigError with the known names.
[[nodiscard]] const Kind& kind_of(const std::string& name);

/// What a checkpoint of this shape calls the weight `name`.
[[nodiscard]] std::string name_in_file(const DictionaryShape& shape, const std::string& name);

// For start functions.

/// A stream of random numbers of its own.
[[nodiscard]] at::Generator stream(uint64_t seed, const char* name);

/// Rows of length 1.
[[nodiscard]] at::Tensor unit_rows(const at::Tensor& x);

/// Random unit rows [n, D]; with OvInit::kActiveSubspace (arXiv 2508.16929) inside the directions
/// that hold 95 % of the variance of what is scored in x [B, T, D].
[[nodiscard]] at::Tensor start_rows(OvInit ov,
                                    const at::Tensor& x_BTD,
                                    const at::Tensor& scored_BT,
                                    int64_t n,
                                    const at::Generator& random);

}  // namespace lorsa::model
