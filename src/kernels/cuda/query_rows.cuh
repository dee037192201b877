#pragma once

#include "kernels/cuda/common.cuh"

namespace lorsa::kernels::cuda {

struct QueryRowsShape {
  int64_t positions = 0;  ///< P, below 2^30
  int64_t k = 0;          ///< K, below 2^25
  int64_t qk_heads = 0;   ///< S
  int64_t group = 0;      ///< heads of a QK head: head h belongs to h / group
};

/// Words of 32 bits of device scratch that query_rows needs: a bit for every QK head and position.
inline int64_t query_rows_words(const QueryRowsShape& shape) {
  return shape.qk_heads * ((shape.positions + 31) / 32);
}

/// The positions at which a QK head owns a kept head with a gradient other than 0, ascending: the
/// first count_S[s] of row s of position_SP; the others are left alone. A block for 32 positions
/// sets their bits, then a block for every QK head counts its bits and writes them out.
cudaError_t query_rows(const __nv_bfloat16* grad_PK,
                       const int32_t* head_PK,
                       const QueryRowsShape& shape,
                       uint32_t* words,
                       int32_t* position_SP,
                       int32_t* count_S,
                       cudaStream_t stream);

}  // namespace lorsa::kernels::cuda
