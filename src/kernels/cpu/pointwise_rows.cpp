#include "kernels/cpu/pointwise_rows.h"

#include <cmath>

#include "kernels/cpu/simd.h"

namespace lorsa::kernels::cpu {

LORSA_SIMD_CLONES void rms_norm_row(
    const float* x, const float* gain, float* y, float* unit, int64_t n, float eps) {
  float sum = 0.0f;
#pragma omp simd reduction(+ : sum)
  for (int64_t i = 0; i < n; ++i) {
    sum += x[i] * x[i];
  }
  const float inverse = 1.0f / std::sqrt(sum / static_cast<float>(n) + eps);
  if (unit == nullptr) {
#pragma omp simd
    for (int64_t i = 0; i < n; ++i) {
      y[i] = (x[i] * inverse) * gain[i];
    }
    return;
  }
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) {
    const float value = x[i] * inverse;
    unit[i] = value;
    y[i] = value * gain[i];
  }
}

LORSA_SIMD_CLONES void silu_mul(float* gate, const float* up, int64_t n) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) {
    gate[i] = gate[i] / (1.0f + fast_exp(-gate[i])) * up[i];
  }
}

}  // namespace lorsa::kernels::cpu
