#pragma once

#include <ATen/ATen.h>

#include "contract/implementations.h"
#include "torch_private/cpu_generator.h"

// Inputs of the contract suites, and what ATen makes of them in double.

namespace lorsa::test {

/// Normal numbers from a seed, on the implementation's device.
inline at::Tensor normal(at::IntArrayRef shape,
                         uint64_t seed,
                         at::ScalarType dtype,
                         c10::Device device) {
  at::Generator generator = lorsa::torch_private::cpu_generator(seed);
  return at::randn(shape, generator, at::kDouble).to(device, dtype);
}

inline at::ScalarType sum_dtype(at::ScalarType dtype) {
  return dtype == at::kBFloat16 ? at::kFloat : dtype;
}

/// Relative tolerance of sums of a few dozen to a few thousand products: a few roundings of the
/// dtype the result is kept in.
inline double tolerance(at::ScalarType dtype) {
  return dtype == at::kDouble ? 1e-13 : dtype == at::kFloat ? 2e-6 : 1e-2;
}

struct DecodeCase {
  int64_t positions;
  int64_t heads;
  int64_t k;
  int64_t width;
};

/// Size 1, K = H, no positions, sizes on both sides of vector and tile edges, H a multiple of 256,
/// as all real ones are, and every number of rows of W_O that the loss holds on CUDA.
inline const std::vector<DecodeCase>& decode_cases() {
  static const std::vector<DecodeCase> cases = {
      {1, 1, 1, 1},    {0, 5, 2, 7},      {3, 4, 4, 15},     {5, 16, 3, 16},     {6, 40, 5, 17},
      {17, 33, 7, 63}, {9, 12, 8, 64},    {8, 64, 33, 65},   {33, 128, 32, 576}, {4, 300, 257, 130},
      {4, 512, 3, 16}, {5, 200, 100, 88}, {4, 300, 256, 72}, {3, 300, 257, 64}};
  return cases;
}

/// Random inputs of a decode: the kept heads come from ATen's sort of z, so that they are distinct.
struct DecodeSample {
  kernels::TopK kept;
  at::Tensor W_O_HD, b_D, target_PD, scored_P;
  double grad_scale = 0.013;

  DecodeSample(const DecodeCase& size, at::ScalarType dtype, c10::Device device, uint64_t seed) {
    const auto [sorted, order] =
        normal({size.positions, size.heads}, seed, at::kDouble, at::kCPU).sort(1, true);
    kept.value_PK = sorted.slice(1, 0, size.k).to(device, dtype).contiguous();
    kept.head_PK = order.slice(1, 0, size.k).to(device, at::kInt).contiguous();
    W_O_HD = normal({size.heads, size.width}, seed + 1, dtype, device);
    b_D = normal({size.width}, seed + 2, sum_dtype(dtype), device);
    target_PD = normal({size.positions, size.width}, seed + 3, dtype, device);
    scored_P = (at::arange(size.positions) % 3 != 1).to(device);
  }

  /// a_PH in double on the CPU: the kept values at their heads, 0 elsewhere.
  [[nodiscard]] at::Tensor dense() const {
    return at::zeros({kept.value_PK.size(0), W_O_HD.size(0)}, at::kDouble)
        .scatter(1, kept.head_PK.to(at::kCPU, at::kLong), in_double(kept.value_PK));
  }

  [[nodiscard]] at::Tensor expected_y() const {
    return dense().matmul(in_double(W_O_HD)) + in_double(b_D);
  }

  [[nodiscard]] static at::Tensor in_double(const at::Tensor& tensor) {
    return tensor.to(at::kCPU, at::kDouble);
  }
};

}  // namespace lorsa::test
