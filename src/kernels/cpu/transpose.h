#pragma once

#include <cstdint>

namespace lorsa::kernels::cpu {

/// to[c * to_stride + r] = from[r * from_stride + c] for r < rows and c < columns.
void transpose(const float* from,
               int64_t from_stride,
               int64_t rows,
               int64_t columns,
               float* to,
               int64_t to_stride);
void transpose(const double* from,
               int64_t from_stride,
               int64_t rows,
               int64_t columns,
               double* to,
               int64_t to_stride);

/// sum[r] += the sum of row r's n elements.
void add_row_sums(const float* x, int64_t stride, int64_t rows, int64_t n, double* sum);

}  // namespace lorsa::kernels::cpu
