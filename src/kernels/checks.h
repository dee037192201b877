#pragma once

#include <ATen/core/Tensor.h>

#include <initializer_list>

#include "lorsa/core/error.h"

// What the tensor bindings ask of their arguments.

namespace lorsa::kernels {

/// Throws ShapeError unless `tensor` is contiguous with this shape, dtype and device.
inline void check_tensor(const at::Tensor& tensor,
                         const char* name,
                         at::IntArrayRef shape,
                         at::ScalarType dtype,
                         c10::Device device) {
  LORSA_CHECK(tensor.defined(), ShapeError, "{} is an undefined tensor", name);
  LORSA_CHECK(tensor.sizes() == shape, ShapeError, "{} is {}, expected {}", name, tensor.sizes(),
              shape);
  LORSA_CHECK(tensor.scalar_type() == dtype, ShapeError, "{} is {}, expected {}", name,
              tensor.scalar_type(), dtype);
  LORSA_CHECK(tensor.device() == device, ShapeError, "{} is on {}, expected {}", name,
              tensor.device(), device);
  LORSA_CHECK(tensor.is_contiguous(), ShapeError,
              "{} of shape {} is strided; call contiguous() first", name, tensor.sizes());
}

/// Throws ShapeError unless `tensor` is on the CPU or a CUDA device and float32, float64 or
/// bfloat16.
inline void check_floating(const at::Tensor& tensor, const char* name) {
  LORSA_CHECK(tensor.defined(), ShapeError, "{} is an undefined tensor", name);
  const at::ScalarType dtype = tensor.scalar_type();
  LORSA_CHECK(tensor.is_cpu() || tensor.is_cuda(), ShapeError, "{} is on {}, expected cpu or cuda",
              name, tensor.device());
  LORSA_CHECK(dtype == at::kFloat || dtype == at::kDouble || dtype == at::kBFloat16, ShapeError,
              "{} is {}, expected float32, float64 or bfloat16", name, dtype);
}

/// bfloat16 on the CPU is for checking: computed in float32, results rounded.
inline bool rounds_on_cpu(const at::Tensor& tensor) {
  return tensor.is_cpu() && tensor.scalar_type() == at::kBFloat16;
}

/// The dtype that sums over values of `dtype` are kept in: float32 for bfloat16, else the same.
inline at::ScalarType sum_dtype(at::ScalarType dtype) {
  return dtype == at::kBFloat16 ? at::kFloat : dtype;
}

}  // namespace lorsa::kernels
