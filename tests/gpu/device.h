#pragma once

#include <ATen/ATen.h>

// What the tests of this folder share.

namespace lorsa::test {

inline const c10::Device kCuda(c10::kCUDA, 0);

/// |ours - exact| over |exact|, lengths of the whole tensors, in double on the CPU.
inline double distance(const at::Tensor& ours, const at::Tensor& exact) {
  const at::Tensor a = ours.to(at::kCPU, at::kDouble);
  const at::Tensor b = exact.to(at::kCPU, at::kDouble);
  return ((a - b).norm() / b.norm()).item<double>();
}

/// What rounding of operands and results to `dtype` explains of a distance.
inline double roundings(at::ScalarType dtype) {
  return dtype == at::kBFloat16 ? 2e-2 : dtype == at::kFloat ? 1e-5 : 1e-12;
}

}  // namespace lorsa::test
