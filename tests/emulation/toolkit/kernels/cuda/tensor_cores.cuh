#pragma once

// In place of src/kernels/cuda/tensor_cores.cuh, whose instructions are a device's.

#include "kernels/cuda/common.cuh"

namespace lorsa::kernels::cuda {

inline void load_transposed(const __nv_bfloat16* row,
                            uint32_t (&tile)[4],
                            emulation::Place place = {__builtin_FILE(), __builtin_LINE()}) {
  emulation::load_transposed(row, tile, place);
}

inline void multiply_add(const uint32_t (&a)[4],
                         uint32_t b0,
                         uint32_t b1,
                         float (&sum)[4],
                         emulation::Place place = {__builtin_FILE(), __builtin_LINE()}) {
  const uint32_t b[2] = {b0, b1};
  emulation::multiply_add(a, b, sum, place);
}

}  // namespace lorsa::kernels::cuda
