#pragma once

#include "kernels/cuda/common.cuh"
#include "lorsa/kernels/types.h"

// T is float or double; arrays of n elements, moved 16 bytes at a time where n and the alignment
// allow it.

namespace lorsa::kernels::cuda {

/// One AdamW step; bfloat16_copy, where not null, receives the rounded parameter. One thread per
/// pack, grid-stride.
template <typename T>
cudaError_t adam_step(T* parameter,
                      const T* gradient,
                      T* first_moment,
                      T* second_moment,
                      __nv_bfloat16* bfloat16_copy,
                      int64_t n,
                      const AdamHyper& hyper,
                      cudaStream_t stream);

/// Blocks of squared_norm, and so the length of its scratch: fixed, so that the same numbers are
/// added in the same order on every device.
constexpr int kNormBlocks = 512;

/// *result (device) = sum of squares in double; partial [kNormBlocks] is scratch.
template <typename T>
cudaError_t squared_norm(
    const T* x, int64_t n, double* partial, double* result, cudaStream_t stream);

}  // namespace lorsa::kernels::cuda
