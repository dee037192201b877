#include "kernels/cpu/adam.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "kernels/adam_coefficients.h"
#include "kernels/cpu/simd.h"

namespace lorsa::kernels::cpu {
namespace {

/// Rounds to the nearest bfloat16, ties to even; NaN stays NaN.
LORSA_INLINE uint16_t to_bfloat16(float x) {
  const auto bits = std::bit_cast<uint32_t>(x);
  const uint32_t rounded = (bits + 0x7fffU + ((bits >> 16) & 1U)) >> 16;
  return static_cast<uint16_t>(x != x ? 0x7fc0U : rounded);
}

/// p <- keep p - lr m^ / (sqrt(v^) + eps), with m^ and v^ the bias-corrected moments.
template <AdamKind kKind, typename T>
LORSA_INLINE void adam_block(const AdamArrays<T>& arrays,
                             const AdamCoefficients<T>& c,
                             int64_t start,
                             int64_t n) {
  T* __restrict p = arrays.parameter + start;
  const T* __restrict g = arrays.gradient + start;
  T* __restrict m = arrays.first_moment + start;
  T* __restrict v = arrays.second_moment + start;
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) {
    const T gradient = c.gradient_scale * g[i];
    const T first = c.beta1 * m[i] + c.new1 * gradient;
    const T second = c.beta2 * v[i] + c.new2 * (gradient * gradient);
    const T stepped =
        c.keep * p[i] - c.step_size * (first / (std::sqrt(second) * c.root_scale + c.eps));
    // A selection, not a branch: the loop stays vectorised. A NaN is no zero.
    const bool touched = kKind == AdamKind::kDense || g[i] != T{0};
    m[i] = touched ? first : m[i];
    v[i] = touched ? second : v[i];
    p[i] = touched ? stepped : p[i];
  }
  if (arrays.bfloat16_copy != nullptr) {
    uint16_t* __restrict copy = arrays.bfloat16_copy + start;
#pragma omp simd
    for (int64_t i = 0; i < n; ++i) {
      copy[i] = to_bfloat16(static_cast<float>(p[i]));
    }
  }
}

template <AdamKind kKind, typename T>
LORSA_INLINE void adam_blocks_body(const AdamArrays<T>& arrays,
                                   const AdamCoefficients<T>& c,
                                   int64_t begin,
                                   int64_t end) {
  for (int64_t block = begin; block < end; ++block) {
    const int64_t start = block * kBlock;
    adam_block<kKind>(arrays, c, start, std::min(kBlock, arrays.size - start));
  }
}

template <typename T>
LORSA_INLINE void squared_norm_body(
    const T* x, int64_t size, int64_t begin, int64_t end, double* sums) {
  for (int64_t block = begin; block < end; ++block) {
    const T* part = x + block * kBlock;
    const int64_t n = std::min(kBlock, size - block * kBlock);
    double front = 0.0;
    double back = 0.0;
    // Two sums, for one alone waits for its own additions.
    const int64_t half = n / 2;
    const T* rest = part + half;
#pragma omp simd reduction(+ : front, back)
    for (int64_t i = 0; i < half; ++i) {
      front += static_cast<double>(part[i]) * static_cast<double>(part[i]);
      back += static_cast<double>(rest[i]) * static_cast<double>(rest[i]);
    }
    if (n % 2 != 0) {
      back += static_cast<double>(part[n - 1]) * static_cast<double>(part[n - 1]);
    }
    sums[block] = front + back;
  }
}

LORSA_SIMD_CLONES void run_dense(const AdamArrays<float>& arrays,
                                 const AdamCoefficients<float>& c,
                                 int64_t begin,
                                 int64_t end) {
  adam_blocks_body<AdamKind::kDense>(arrays, c, begin, end);
}

LORSA_SIMD_CLONES void run_dense(const AdamArrays<double>& arrays,
                                 const AdamCoefficients<double>& c,
                                 int64_t begin,
                                 int64_t end) {
  adam_blocks_body<AdamKind::kDense>(arrays, c, begin, end);
}

LORSA_SIMD_CLONES void run_sparse(const AdamArrays<float>& arrays,
                                  const AdamCoefficients<float>& c,
                                  int64_t begin,
                                  int64_t end) {
  adam_blocks_body<AdamKind::kSparse>(arrays, c, begin, end);
}

LORSA_SIMD_CLONES void run_sparse(const AdamArrays<double>& arrays,
                                  const AdamCoefficients<double>& c,
                                  int64_t begin,
                                  int64_t end) {
  adam_blocks_body<AdamKind::kSparse>(arrays, c, begin, end);
}

template <typename T>
void run_adam(const AdamArrays<T>& arrays, const AdamHyper& hyper, int64_t begin, int64_t end) {
  const AdamCoefficients<T> coefficients(hyper);
  switch (hyper.kind) {
    case AdamKind::kDense:
      run_dense(arrays, coefficients, begin, end);
      return;
    case AdamKind::kSparse:
      run_sparse(arrays, coefficients, begin, end);
      return;
  }
}

}  // namespace

void adam_blocks(const AdamArrays<float>& arrays,
                 const AdamHyper& hyper,
                 int64_t begin,
                 int64_t end) {
  run_adam(arrays, hyper, begin, end);
}

void adam_blocks(const AdamArrays<double>& arrays,
                 const AdamHyper& hyper,
                 int64_t begin,
                 int64_t end) {
  run_adam(arrays, hyper, begin, end);
}

LORSA_SIMD_CLONES void squared_norm_blocks(
    const float* x, int64_t size, int64_t begin, int64_t end, double* sums) {
  squared_norm_body(x, size, begin, end, sums);
}

LORSA_SIMD_CLONES void squared_norm_blocks(
    const double* x, int64_t size, int64_t begin, int64_t end, double* sums) {
  squared_norm_body(x, size, begin, end, sums);
}

}  // namespace lorsa::kernels::cpu
