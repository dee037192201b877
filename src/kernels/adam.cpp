#include "lorsa/kernels/adam.h"

#include <ATen/Parallel.h>
#include <ATen/ops/scalar_tensor.h>

#include <numeric>
#include <vector>

#include "kernels/checks.h"
#include "kernels/cpu/adam.h"
#include "kernels/cuda_backend.h"
#include "kernels/part_timer.h"

namespace lorsa::kernels {
namespace {

// Blocks of cpu::kBlock elements that a thread takes at least: about 20 microseconds.
constexpr int64_t kGrainBlocks = 8;

int64_t num_blocks(int64_t size) {
  return (size + cpu::kBlock - 1) / cpu::kBlock;
}

template <typename T>
void adam_cpu(at::Tensor& parameter,
              const at::Tensor& gradient,
              at::Tensor& first_moment,
              at::Tensor& second_moment,
              const AdamHyper& hyper,
              const at::Tensor& bfloat16_copy) {
  const cpu::AdamArrays<T> arrays{
      parameter.mutable_data_ptr<T>(),
      gradient.const_data_ptr<T>(),
      first_moment.mutable_data_ptr<T>(),
      second_moment.mutable_data_ptr<T>(),
      bfloat16_copy.defined() ? static_cast<uint16_t*>(bfloat16_copy.mutable_data_ptr()) : nullptr,
      parameter.numel()};
  at::parallel_for(0, num_blocks(arrays.size), kGrainBlocks, [&](int64_t begin, int64_t end) {
    cpu::adam_blocks(arrays, hyper, begin, end);
  });
}

template <typename T>
at::Tensor squared_norm_cpu(const at::Tensor& tensor) {
  const T* x = tensor.const_data_ptr<T>();
  const int64_t size = tensor.numel();
  std::vector<double> sums(static_cast<size_t>(num_blocks(size)));
  at::parallel_for(0, num_blocks(size), kGrainBlocks, [&](int64_t begin, int64_t end) {
    cpu::squared_norm_blocks(x, size, begin, end, sums.data());
  });
  return at::scalar_tensor(std::accumulate(sums.begin(), sums.end(), 0.0), at::kDouble);
}

void check_full_precision(const at::Tensor& tensor, const char* name) {
  check_floating(tensor, name);
  LORSA_CHECK(tensor.scalar_type() != at::kBFloat16, ShapeError,
              "{} is bfloat16, expected float32 or float64", name);
  check_tensor(tensor, name, tensor.sizes(), tensor.scalar_type(), tensor.device());
}

}  // namespace

void adam_step_(at::Tensor& parameter,
                const at::Tensor& gradient,
                at::Tensor& first_moment,
                at::Tensor& second_moment,
                const AdamHyper& hyper,
                const at::Tensor& bfloat16_copy) {
  const PartTimer timer(Part::kOptimizer);
  check_full_precision(parameter, "parameter");
  const at::IntArrayRef shape = parameter.sizes();
  const at::ScalarType dtype = parameter.scalar_type();
  check_tensor(gradient, "gradient", shape, dtype, parameter.device());
  check_tensor(first_moment, "first_moment", shape, dtype, parameter.device());
  check_tensor(second_moment, "second_moment", shape, dtype, parameter.device());
  if (bfloat16_copy.defined()) {
    check_tensor(bfloat16_copy, "bfloat16_copy", shape, at::kBFloat16, parameter.device());
  }
  LORSA_CHECK(hyper.step >= 1, Error, "adam_step_: step = {}, expected 1 or more", hyper.step);
  if (runs_on_device(parameter)) {
    cuda_backend().adam_step_(parameter, gradient, first_moment, second_moment, hyper,
                              bfloat16_copy);
  } else if (dtype == at::kFloat) {
    adam_cpu<float>(parameter, gradient, first_moment, second_moment, hyper, bfloat16_copy);
  } else {
    adam_cpu<double>(parameter, gradient, first_moment, second_moment, hyper, bfloat16_copy);
  }
}

at::Tensor squared_norm(const at::Tensor& tensor) {
  const PartTimer timer(Part::kOptimizer);
  check_full_precision(tensor, "tensor");
  if (runs_on_device(tensor)) {
    return cuda_backend().squared_norm(tensor);
  }
  return tensor.scalar_type() == at::kFloat ? squared_norm_cpu<float>(tensor)
                                            : squared_norm_cpu<double>(tensor);
}

}  // namespace lorsa::kernels
