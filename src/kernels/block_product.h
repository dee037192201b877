#pragma once

#include <cstdint>

namespace lorsa::kernels {

/// Sizes of a small product: a [rows, inner], b [inner, columns], c [rows, columns], all row-major
/// with rows that lie a_stride, b_stride and c_stride elements apart.
struct BlockShape {
  int64_t rows = 0;
  int64_t columns = 0;
  int64_t inner = 0;
  int64_t a_stride = 0;
  int64_t b_stride = 0;
  int64_t c_stride = 0;
};

enum class Sum { kReplace, kAdd };

/// c = a b or c += a b on the calling thread; `inner` terms of an element are added in ascending
/// order, whatever the other sizes are.
///
/// In float32 it is oneDNN's kernel, compiled for every shape when a thread first meets it (about a
/// millisecond) and kept: 110 to 116 GFLOP/s on one core from 32 x 64 x 64 on, where LibTorch's
/// product reaches 62 to 100 (AMD EPYC, 2026-11-24). So callers use few shapes. Without oneDNN it
/// is the BLAS of LibTorch. In double, which only tests and analyses compute in, it is at::mm.
void block_product(const BlockShape& shape, Sum sum, const float* a, const float* b, float* c);
void block_product(const BlockShape& shape, Sum sum, const double* a, const double* b, double* c);

}  // namespace lorsa::kernels
