#pragma once

#include <cstdint>

#include "lorsa/core/api.h"
#include "lorsa/model/dictionary.h"

namespace lorsa::model {

/// What a training step's memory depends on beside the shape.
struct StepSize {
  int64_t num_positions = 0;   ///< P, of what is computed at a time
  int64_t context_length = 0;  ///< T
  int64_t top_k = 0;           ///< the largest K of the training
  int64_t aux_k = 0;
  bool on_cuda = false;
  bool in_bfloat16 = false;
  bool trains_qk = true;
  bool has_penalty = false;
  bool measures_threshold = false;
};

/// Bytes of the largest set of tensors that live at one time in Dictionary::forward_backward().
[[nodiscard]] LORSA_API int64_t step_bytes(const DictionaryShape& shape, const StepSize& size);

/// The most sequences of T positions that a CUDA device may compute at a time: what holds
/// P max(S E, H) values, and attention's rows padded to 128 positions and 32 values, stay at or
/// below 2^31. 0 where one sequence is past that.
[[nodiscard]] LORSA_API int64_t max_cuda_sequences(const DictionaryShape& shape, int64_t positions);

/// Number of trainable values.
[[nodiscard]] LORSA_API int64_t num_parameters(const DictionaryShape& shape);

/// Values of the weights that bfloat16 compute keeps a copy of.
[[nodiscard]] LORSA_API int64_t num_matrix_values(const DictionaryShape& shape);

/// Floating-point operations of forward and backward pass, for each token of a context of T.
struct StepFlops {
  double projections = 0.0;  ///< queries, keys, values and their weight gradients
  double attention = 0.0;    ///< half of T^2: 2 products forwards, 5 backwards, of widths E and G
  double decode = 0.0;       ///< kept heads: output, value gradient, weight gradient

  [[nodiscard]] double sum() const { return projections + attention + decode; }
};

[[nodiscard]] LORSA_API StepFlops step_flops(const DictionaryShape& shape, int64_t context_length);

}  // namespace lorsa::model
