#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "lorsa/core/api.h"

namespace lorsa::kernels {

enum class RopeLayout { kHalfSplit, kAdjacentPairs };
enum class RopeScaling { kNone, kLinear, kLlama3 };

/// Rotary position embedding (Su et al. 2021) as Hugging Face models parameterise it.
struct RopeSpec {
  int64_t rotary_dim = 0;  ///< leading dimensions of a head that are rotated, even; 0: no rotation
  double base = 10000.0;
  RopeScaling scaling = RopeScaling::kNone;
  double factor = 1.0;              ///< linear and llama3
  double low_freq_factor = 1.0;     ///< llama3
  double high_freq_factor = 4.0;    ///< llama3
  int64_t original_context = 8192;  ///< llama3
  RopeLayout layout = RopeLayout::kHalfSplit;

  bool operator==(const RopeSpec&) const = default;
};

/// cos and sin, [T, rotary_dim / 2] each. Frequencies and angles are rounded to float32 as
/// transformers does: the models were trained with exactly these.
struct RopeTable {
  at::Tensor cos;
  at::Tensor sin;
};

/// Table for positions 0 .. num_positions-1, values in `dtype` on `device`. To be read only: the
/// same arguments give the same tensors.
[[nodiscard]] LORSA_API RopeTable rope_table(const RopeSpec& spec,
                                             int64_t num_positions,
                                             at::ScalarType dtype,
                                             c10::Device device);

enum class RopeDirection { kForward, kInverse };

/// Rotates x [B, T, S, E] in place by its position t (kInverse: by -t, the transpose, for the
/// backward pass). Dimensions past rotary_dim stay. float32, float64 or bfloat16; fast where the
/// last dimension is contiguous.
LORSA_API void apply_rope_(at::Tensor& x_BTSE,
                           const RopeSpec& spec,
                           const RopeTable& table,
                           RopeDirection direction);

}  // namespace lorsa::kernels
