#pragma once

#include <ATen/native/CPUBlas.h>

#include <cstdint>

namespace lorsa::torch_private {

/// c [rows, columns] = a [rows, inner] b [inner, columns], or c += a b, row-major with rows that
/// lie the strides apart, on the calling thread: at::native::cpublas::brgemm, which is oneDNN's
/// kernel.
///
/// Checked with LibTorch 2.11. If it goes: at::mm_out on from_blob views, as block_product() does
/// in double (62 to 100 instead of 110 to 116 GFLOP/s), or oneDNN's own dnnl::ukernel::brgemm.
inline void brgemm(int64_t rows,
                   int64_t columns,
                   int64_t inner,
                   int64_t a_stride,
                   int64_t b_stride,
                   int64_t c_stride,
                   bool adds,
                   const float* a,
                   const float* b,
                   float* c) {
  at::native::cpublas::brgemm(rows, columns, inner, a_stride, b_stride, c_stride, adds, a, b, c);
}

}  // namespace lorsa::torch_private
