#pragma once

#include "kernels/cuda/common.cuh"
#include "kernels/shapes.h"
#include "lorsa/kernels/types.h"

namespace lorsa::kernels::cuda {

/// Exact top-k of every row, descending score, ties to the lower head. T is float or bfloat16.
///
/// Shapes   z_PH rows of stride shape.z_stride, norm_H [H] float, value_PK and head_PK dense.
/// Invalid  a NaN (or negative) score lowers *first_invalid, a device number that holds its maximum
///          before the call, to the entry's index p*H + h; the outputs of that row then mean
///          nothing, but its heads are K different ones in [0, H).
/// Grid     one block of 1024 threads per row; 9 KiB of shared memory; any alignment.
/// Returns  cudaErrorInvalidValue past kTopKMaxHeads or kTopKMaxK.
template <typename T>
cudaError_t top_k(const T* z_PH,
                  const float* norm_H,
                  TopKShape shape,
                  Selection selection,
                  T* value_PK,
                  int32_t* head_PK,
                  unsigned long long* first_invalid,
                  cudaStream_t stream);

}  // namespace lorsa::kernels::cuda
