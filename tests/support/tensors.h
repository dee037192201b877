#pragma once

#include <ATen/ATen.h>

#include <string>

namespace lorsa::test {

/// Largest |a - b| over max(largest |b|, tiny), in double; infinity if shapes differ or anything is
/// NaN. Refuses tensors that share storage: such a comparison cannot fail.
inline double relative_error(const at::Tensor& a, const at::Tensor& b) {
  if (a.sizes() != b.sizes()) {
    return std::numeric_limits<double>::infinity();
  }
  if (a.numel() == 0) {
    return 0.0;
  }
  if (a.is_alias_of(b)) {
    throw std::logic_error("relative_error: both tensors share storage");
  }
  const at::Tensor x = a.to(at::kCPU, at::kDouble);
  const at::Tensor y = b.to(at::kCPU, at::kDouble);
  const double difference = (x - y).abs().max().item<double>();
  const double scale = std::max(y.abs().max().item<double>(), 1e-300);
  const double result = difference / scale;
  return std::isnan(result) ? std::numeric_limits<double>::infinity() : result;
}

}  // namespace lorsa::test
