#include "kernels/cpu/rope_rows.h"

#include "kernels/cpu/simd.h"

namespace lorsa::kernels::cpu {
namespace {

template <typename T>
LORSA_INLINE void half_split_body(
    T* x, const T* cos, const T* sin, int64_t half, int64_t heads, int64_t head_stride, T sign) {
  for (int64_t head = 0; head < heads; ++head) {
    T* low = x + head * head_stride;
    T* high = low + half;
#pragma omp simd
    for (int64_t i = 0; i < half; ++i) {
      const T a = low[i];
      const T b = high[i];
      const T s = sign * sin[i];
      low[i] = a * cos[i] - b * s;
      high[i] = b * cos[i] + a * s;
    }
  }
}

template <typename T>
LORSA_INLINE void adjacent_body(
    T* x, const T* cos, const T* sin, int64_t half, int64_t heads, int64_t head_stride, T sign) {
  for (int64_t head = 0; head < heads; ++head) {
    T* row = x + head * head_stride;
#pragma omp simd
    for (int64_t i = 0; i < half; ++i) {
      const T a = row[2 * i];
      const T b = row[2 * i + 1];
      const T s = sign * sin[i];
      row[2 * i] = a * cos[i] - b * s;
      row[2 * i + 1] = b * cos[i] + a * s;
    }
  }
}

}  // namespace

LORSA_SIMD_CLONES void rotate_half_split(float* x,
                                         const float* cos,
                                         const float* sin,
                                         int64_t half,
                                         int64_t heads,
                                         int64_t head_stride,
                                         float sign) {
  half_split_body(x, cos, sin, half, heads, head_stride, sign);
}

LORSA_SIMD_CLONES void rotate_half_split(double* x,
                                         const double* cos,
                                         const double* sin,
                                         int64_t half,
                                         int64_t heads,
                                         int64_t head_stride,
                                         double sign) {
  half_split_body(x, cos, sin, half, heads, head_stride, sign);
}

LORSA_SIMD_CLONES void rotate_adjacent(float* x,
                                       const float* cos,
                                       const float* sin,
                                       int64_t half,
                                       int64_t heads,
                                       int64_t head_stride,
                                       float sign) {
  adjacent_body(x, cos, sin, half, heads, head_stride, sign);
}

LORSA_SIMD_CLONES void rotate_adjacent(double* x,
                                       const double* cos,
                                       const double* sin,
                                       int64_t half,
                                       int64_t heads,
                                       int64_t head_stride,
                                       double sign) {
  adjacent_body(x, cos, sin, half, heads, head_stride, sign);
}

}  // namespace lorsa::kernels::cpu
