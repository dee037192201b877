#include "kernels/cpu/attention_rows.h"

#include <cmath>
#include <limits>

#include "kernels/cpu/simd.h"

namespace lorsa::kernels::cpu {
namespace {

template <typename T>
LORSA_INLINE T max_of(const T* row, int64_t n) {
  T best = row[0];
#pragma omp simd reduction(max : best)
  for (int64_t j = 0; j < n; ++j) {
    best = row[j] > best ? row[j] : best;
  }
  return best;
}

/// `live` up to whole vectors: what is left of a row after these is computed element by element.
LORSA_INLINE int64_t whole_vectors(int64_t live, int64_t n) {
  constexpr int64_t kVector = 16;
  const int64_t end = (live + kVector - 1) / kVector * kVector;
  return end < n ? end : n;
}

template <typename T>
LORSA_INLINE void fill(T* row, int64_t begin, int64_t end, T value) {
  for (int64_t j = begin; j < end; ++j) {
    row[j] = value;
  }
}

template <typename T>
LORSA_INLINE void zero_tail(T* row, int64_t live, int64_t n) {
  fill(row, live, n, T(0));
}

// Returns the sum; the division and the logarithm are left to the caller, outside the cloned code.
template <typename T>
LORSA_INLINE T exponentials(T* row, int64_t live, T scale, T best) {
  T sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t j = 0; j < live; ++j) {
    row[j] = fast_exp(scale * (row[j] - best));
    sum += row[j];
  }
  const T inverse = T(1) / sum;
#pragma omp simd
  for (int64_t j = 0; j < live; ++j) {
    row[j] *= inverse;
  }
  return sum;
}

template <typename T>
LORSA_INLINE void exponentials_from_lse(T* row, int64_t live, T scale, T lse) {
#pragma omp simd
  for (int64_t j = 0; j < live; ++j) {
    row[j] = fast_exp(scale * row[j] - lse);
  }
}

template <typename T>
LORSA_INLINE void axpy_body(T* y, const T* x, T a, int64_t n) {
#pragma omp simd
  for (int64_t j = 0; j < n; ++j) {
    y[j] += a * x[j];
  }
}

template <typename T>
LORSA_INLINE void row_products_body(
    const T* a, const T* b, int64_t b_stride, int64_t rows, int64_t n, T* dots) {
  for (int64_t j = 0; j < rows; ++j) {
    const T* b_j = b + j * b_stride;
    T sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < n; ++i) {
      sum += a[i] * b_j[i];
    }
    dots[j] = sum;
  }
}

template <typename T>
LORSA_INLINE void softmax_backward_body(T* d_row, const T* weights, int64_t n, T dot, T scale) {
#pragma omp simd
  for (int64_t j = 0; j < n; ++j) {
    d_row[j] = scale * weights[j] * (d_row[j] - dot);
  }
}

}  // namespace

LORSA_SIMD_CLONES float softmax_row(float* row, int64_t live, int64_t n, float scale) {
  const int64_t end = whole_vectors(live, n);
  fill(row, live, end, -std::numeric_limits<float>::infinity());
  const float best = max_of(row, end);
  const float sum = exponentials(row, end, scale, best);
  zero_tail(row, end, n);
  return scale * best + std::log(sum);
}

LORSA_SIMD_CLONES double softmax_row(double* row, int64_t live, int64_t n, double scale) {
  const int64_t end = whole_vectors(live, n);
  fill(row, live, end, -std::numeric_limits<double>::infinity());
  const double best = max_of(row, end);
  const double sum = exponentials(row, end, scale, best);
  zero_tail(row, end, n);
  return scale * best + std::log(sum);
}

LORSA_SIMD_CLONES void weights_from_lse(
    float* row, int64_t live, int64_t n, float scale, float lse) {
  exponentials_from_lse(row, whole_vectors(live, n), scale, lse);
  zero_tail(row, live, n);
}

LORSA_SIMD_CLONES void weights_from_lse(
    double* row, int64_t live, int64_t n, double scale, double lse) {
  exponentials_from_lse(row, whole_vectors(live, n), scale, lse);
  zero_tail(row, live, n);
}

LORSA_SIMD_CLONES void axpy(float* y, const float* x, float a, int64_t n) {
  axpy_body(y, x, a, n);
}

LORSA_SIMD_CLONES void axpy(double* y, const double* x, double a, int64_t n) {
  axpy_body(y, x, a, n);
}

LORSA_SIMD_CLONES void row_products(
    const float* a, const float* b, int64_t b_stride, int64_t rows, int64_t n, float* dots) {
  row_products_body(a, b, b_stride, rows, n, dots);
}

LORSA_SIMD_CLONES void row_products(
    const double* a, const double* b, int64_t b_stride, int64_t rows, int64_t n, double* dots) {
  row_products_body(a, b, b_stride, rows, n, dots);
}

LORSA_SIMD_CLONES void softmax_backward_row(
    float* d_row, const float* weights, int64_t n, float dot, float scale) {
  softmax_backward_body(d_row, weights, n, dot, scale);
}

LORSA_SIMD_CLONES void softmax_backward_row(
    double* d_row, const double* weights, int64_t n, double dot, double scale) {
  softmax_backward_body(d_row, weights, n, dot, scale);
}

}  // namespace lorsa::kernels::cpu
