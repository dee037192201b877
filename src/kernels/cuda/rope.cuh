#pragma once

#include "kernels/cuda/common.cuh"

namespace lorsa::kernels::cuda {

/// Sizes and strides (in elements) of x [B, T, S, E], whose last dimension is contiguous.
struct RopeShape {
  int64_t sequences = 0;
  int64_t positions = 0;
  int64_t heads = 0;
  int64_t half = 0;  ///< half of rotary_dim
  int64_t sequence_stride = 0;
  int64_t position_stride = 0;
  int64_t head_stride = 0;
};

/// Rotates x in place: (a, b) <- (a cos - sign b sin, b cos + sign a sin), for a = x[i],
/// b = x[half + i] (kSplit) or a = x[2i], b = x[2i + 1]; tables [T, half] in Sum<T>. bfloat16 is
/// rotated in float32 and rounded once. One block per position, or several where a position has
/// less work than threads; at most 2^31 - 1 blocks.
template <typename T>
cudaError_t rope(T* x_BTSE,
                 const Sum<T>* cos,
                 const Sum<T>* sin,
                 const RopeShape& shape,
                 bool adjacent_pairs,
                 int sign,
                 cudaStream_t stream);

}  // namespace lorsa::kernels::cuda
