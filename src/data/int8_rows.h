#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

namespace lorsa::data {

/// Largest size of a stored value; -128 is not used.
inline constexpr float kLargestInt8 = 127.0F;

/// Rounds x to `width` values q, so that x is close to q * scale; returns scale = max |x| / 127, or
/// NaN if a value is not finite. The error is at most scale / 2.
inline float quantize_int8(const float* x, int64_t width, int8_t* q) {
  float largest = 0.0F;
  bool finite = true;
  for (int64_t d = 0; d < width; ++d) {
    largest = std::max(largest, std::abs(x[d]));
    finite = finite && std::isfinite(x[d]);
  }
  if (!finite) {
    return NAN;
  }
  const float scale = largest / kLargestInt8;
  const float inverse = scale > 0.0F ? 1.0F / scale : 0.0F;
  for (int64_t d = 0; d < width; ++d) {
    // The inverse of a tiny scale can overflow, and x / scale can round past 127.
    const float value = std::isfinite(inverse) ? x[d] * inverse : x[d] / scale;
    q[d] = static_cast<int8_t>(std::clamp(std::nearbyint(value), -kLargestInt8, kLargestInt8));
  }
  return scale;
}

inline void dequantize_int8(const int8_t* q, float scale, int64_t width, float* x) {
  for (int64_t d = 0; d < width; ++d) {
    x[d] = static_cast<float>(q[d]) * scale;
  }
}

}  // namespace lorsa::data
