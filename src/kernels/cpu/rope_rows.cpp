#include "kernels/cpu/rope_rows.h"

#include "kernels/cpu/simd.h"

namespace lorsa::kernels::cpu {
namespace {

template <typename T>
LORSA_INLINE void half_split_body(
    T* x, const RotatedRows& rows, const T* cos, const T* sin, int64_t half, T sign) {
  for (int64_t t = 0; t < rows.positions; ++t, cos += half, sin += half) {
    for (int64_t head = 0; head < rows.heads; ++head) {
      T* low = x + t * rows.position_stride + head * rows.head_stride;
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
}

template <typename T>
LORSA_INLINE void adjacent_body(
    T* x, const RotatedRows& rows, const T* cos, const T* sin, int64_t half, T sign) {
  for (int64_t t = 0; t < rows.positions; ++t, cos += half, sin += half) {
    for (int64_t head = 0; head < rows.heads; ++head) {
      T* row = x + t * rows.position_stride + head * rows.head_stride;
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
}

template <typename T>
LORSA_INLINE void unrotate_body(
    const T* low, const T* high, const T* cos, const T* sin, int64_t n, T* out_low, T* out_high) {
#pragma omp simd
  for (int64_t t = 0; t < n; ++t) {
    const T a = low[t];
    const T b = high[t];
    out_low[t] = a * cos[t] + b * sin[t];
    out_high[t] = b * cos[t] - a * sin[t];
  }
}

}  // namespace

LORSA_SIMD_CLONES void unrotate_pair(const float* low,
                                     const float* high,
                                     const float* cos,
                                     const float* sin,
                                     int64_t n,
                                     float* out_low,
                                     float* out_high) {
  unrotate_body(low, high, cos, sin, n, out_low, out_high);
}

LORSA_SIMD_CLONES void unrotate_pair(const double* low,
                                     const double* high,
                                     const double* cos,
                                     const double* sin,
                                     int64_t n,
                                     double* out_low,
                                     double* out_high) {
  unrotate_body(low, high, cos, sin, n, out_low, out_high);
}

LORSA_SIMD_CLONES void rotate_half_split(float* x,
                                         const RotatedRows& rows,
                                         const float* cos,
                                         const float* sin,
                                         int64_t half,
                                         float sign) {
  half_split_body(x, rows, cos, sin, half, sign);
}

LORSA_SIMD_CLONES void rotate_half_split(double* x,
                                         const RotatedRows& rows,
                                         const double* cos,
                                         const double* sin,
                                         int64_t half,
                                         double sign) {
  half_split_body(x, rows, cos, sin, half, sign);
}

LORSA_SIMD_CLONES void rotate_adjacent(float* x,
                                       const RotatedRows& rows,
                                       const float* cos,
                                       const float* sin,
                                       int64_t half,
                                       float sign) {
  adjacent_body(x, rows, cos, sin, half, sign);
}

LORSA_SIMD_CLONES void rotate_adjacent(double* x,
                                       const RotatedRows& rows,
                                       const double* cos,
                                       const double* sin,
                                       int64_t half,
                                       double sign) {
  adjacent_body(x, rows, cos, sin, half, sign);
}

}  // namespace lorsa::kernels::cpu
