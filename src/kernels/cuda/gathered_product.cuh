#pragma once

#include "kernels/cuda/common.cuh"

namespace lorsa::kernels::cuda {

/// Rows of a gradient [P, S, E] and of x [P, D]: of QK head s at the first count_S[s] positions of
/// row s of position_SP. E and D are multiples of 16, rows start at multiples of 16 bytes.
struct GatheredInput {
  const __nv_bfloat16* grad_PSE = nullptr;
  const __nv_bfloat16* x_PD = nullptr;
  const int32_t* position_SP = nullptr;
  const int32_t* count_S = nullptr;
  int64_t positions = 0;   ///< P, below 2^30
  int64_t qk_heads = 0;    ///< S
  int64_t head_width = 0;  ///< E
  int64_t width = 0;       ///< D
};

/// weight_SED[s] = sum over the head's positions p of grad[p, s]^T x[p], bias_SE[s] that of
/// grad[p, s]: in float32, in the order of the list, by tensor cores; 0 where it is empty. A block
/// makes up to 128 rows of a head times 256 columns, 32 positions a step, of which the next two are
/// on their way into 75 KiB (64 rows: 63 KiB) of dynamic shared memory. weight starts at a multiple
/// of 16 bytes.
cudaError_t gathered_product(const GatheredInput& in,
                             float* weight_SED,
                             float* bias_SE,
                             cudaStream_t stream);

}  // namespace lorsa::kernels::cuda
