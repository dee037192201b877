#pragma once

#include "kernels/cuda/common.cuh"

// Two instructions of the tensor cores, of sm_80 and later, for whole warps whose lanes call
// together. g = lane / 4 and t = lane % 4 say what of a tile a lane holds (PTX ISA, "Matrix
// Fragments for mma.m16n8k16"). nvcuda::wmma has them too, but loads bfloat16 tiles by generic
// addresses, 32 bits at a time, and transposes them afterwards: 64 LD and 64 MOVM for 64 HMMA
// (CUDA 13.0), where this takes 16 LDSM.
//
// Emulated, this header is tests/emulation/toolkit/kernels/cuda/tensor_cores.cuh.

namespace lorsa::kernels::cuda {

/// Four 8 x 8 tiles of shared memory: lane l points at the 16 bytes of row l % 8 of tile l / 8. Of
/// each the lane gets the elements (2 t, g) and (2 t + 1, g).
__device__ __forceinline__ void load_transposed(const __nv_bfloat16* row, uint32_t (&tile)[4]) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(tile[0]), "=r"(tile[1]), "=r"(tile[2]), "=r"(tile[3])
               : "r"(static_cast<unsigned>(__cvta_generic_to_shared(row)))
               : "memory");
}

/// sum += a b, for a [16, 16] and b [16, 8] in bfloat16, sum [16, 8] in float32.
///
///   a    rows g, g + 8, g, g + 8 at columns 2 t + {0, 1}, the last two at 2 t + {8, 9}
///   b    column g at rows 2 t + {0, 1} and 2 t + {8, 9}
///   sum  row g at columns 2 t + {0, 1}, then row g + 8
__device__ __forceinline__ void multiply_add(const uint32_t (&a)[4],
                                             uint32_t b0,
                                             uint32_t b1,
                                             float (&sum)[4]) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
      "{%8, %9}, {%0, %1, %2, %3};"
      : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

}  // namespace lorsa::kernels::cuda
