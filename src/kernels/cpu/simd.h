#pragma once

// How the CPU kernels are vectorised: plain loops, compiled once per instruction set, chosen at
// load time (GNU ifunc), so that one build runs on every x86-64 machine and no global -march is
// needed.
//
//   template <typename T> LORSA_INLINE void scale_body(T* x, int64_t n, T c) {
//   #pragma omp simd
//     for (int64_t i = 0; i < n; ++i) x[i] *= c;                    // body: inlined into every
//     clone
//   }
//   LORSA_SIMD_CLONES void scale(float* x, int64_t n, float c) { scale_body(x, n, c); }
//   LORSA_SIMD_CLONES void scale(double* x, int64_t n, double c) { scale_body(x, n, c); }
//
// Rules. A cloned function is a plain, non-template, external function of a .cpp file (attributes
// on templates are ignored by some compilers); all it calls in its loops is LORSA_INLINE, because a
// call of a function compiled for the baseline would neither inline nor vectorise. Raw loops over
// contiguous memory, no std::function, no <cmath> calls except sqrt, fabs and fma in the loop. Sums
// need `#pragma omp simd reduction(+ : sum)`. The sources get -O3 -fopenmp-simd -fno-math-errno
// -fno-trapping-math from CMakeLists.txt; infinities and NaN keep their meaning.
// Which elements share a vector depends on where the loop starts, and with it the last bit of a
// contracted product: split work over threads at boundaries that do not depend on the thread count.

#include <bit>
#include <cstdint>
#include <limits>

// The most that a clone may use: x86-64-v4 (AVX-512), x86-64-v3 (AVX2) or 1, the baseline (CMake's
// LORSA_SIMD_LEVEL, which shows on one machine what others compute).
#ifndef LORSA_SIMD_LEVEL
#define LORSA_SIMD_LEVEL 4
#endif

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && __GNUC__ >= 12 && \
    !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) && LORSA_SIMD_LEVEL >= 3
// The sanitizers' runtimes are not up yet when ifunc resolvers run.
#if LORSA_SIMD_LEVEL >= 4
#define LORSA_SIMD_CLONES \
  __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define LORSA_SIMD_CLONES __attribute__((target_clones("arch=x86-64-v3", "default")))
#endif
#else
#define LORSA_SIMD_CLONES
#endif

#define LORSA_INLINE [[gnu::always_inline]] inline

namespace lorsa::kernels::cpu {

/// e^x in float, relative error below 1.2e-7 over the normal range; -inf and x < -87.33 give 0
/// (results below the smallest normal float are flushed), x > 88.37 gives inf, NaN stays NaN.
/// Vectorises inside a simd loop (Cephes' expf polynomial on [-ln2/2, ln2/2]).
LORSA_INLINE float fast_exp(float x) {
  constexpr float kLow = -87.33f;
  constexpr float kHigh = 88.37f;
  // Adding 1.5 * 2^23 leaves the rounded integer in the low mantissa bits.
  constexpr float kRound = 12582912.0f;
  const float clamped = x < kLow ? kLow : (x > kHigh ? kHigh : x);
  const float shifted = clamped * 1.44269504088896341f + kRound;
  const float n = shifted - kRound;
  // ln 2 in two parts, the first exact in few bits, so that n * ln2 is subtracted without rounding.
  const float r = (clamped - n * 0.693359375f) - n * -2.12194440e-4f;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = (p * r) * r + r + 1.0f;
  const int32_t exponent = (std::bit_cast<int32_t>(shifted) - std::bit_cast<int32_t>(kRound) + 127)
                           << 23;
  const float result = p * std::bit_cast<float>(exponent);
  return x < kLow ? 0.0f : (x > kHigh ? std::numeric_limits<float>::infinity() : result);
}

/// e^x in double, relative error below 1e-15; x < -708 gives 0, x > 709 inf, NaN stays NaN.
LORSA_INLINE double fast_exp(double x) {
  constexpr double kLow = -708.0;
  constexpr double kHigh = 709.0;
  constexpr double kRound = 6755399441055744.0;  // 1.5 * 2^52
  const double clamped = x < kLow ? kLow : (x > kHigh ? kHigh : x);
  const double shifted = clamped * 1.4426950408889634074 + kRound;
  const double n = shifted - kRound;
  const double r = (clamped - n * 6.93145751953125e-1) - n * 1.42860682030941723212e-6;
  // Taylor to r^13 / 13!: the next term is below 4e-18 for |r| <= ln2 / 2.
  double p = 1.0 / 6227020800.0;
  p = p * r + 1.0 / 479001600.0;
  p = p * r + 1.0 / 39916800.0;
  p = p * r + 1.0 / 3628800.0;
  p = p * r + 1.0 / 362880.0;
  p = p * r + 1.0 / 40320.0;
  p = p * r + 1.0 / 5040.0;
  p = p * r + 1.0 / 720.0;
  p = p * r + 1.0 / 120.0;
  p = p * r + 1.0 / 24.0;
  p = p * r + 1.0 / 6.0;
  p = p * r + 0.5;
  p = (p * r) * r + r + 1.0;
  const int64_t exponent = (std::bit_cast<int64_t>(shifted) - std::bit_cast<int64_t>(kRound) + 1023)
                           << 52;
  const double result = p * std::bit_cast<double>(exponent);
  return x < kLow ? 0.0 : (x > kHigh ? std::numeric_limits<double>::infinity() : result);
}

}  // namespace lorsa::kernels::cpu
