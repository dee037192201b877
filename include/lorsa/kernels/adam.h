#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace lorsa::kernels {

struct AdamHyper {
  double learning_rate = 1e-3;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double eps = 1e-8;
  double weight_decay = 0.0;    ///< decoupled (AdamW, Loshchilov and Hutter 2019)
  int64_t step = 1;             ///< counts from 1, for the bias correction
  double gradient_scale = 1.0;  ///< multiplies the gradient first (clipping)
};

/// One Adam step (Kingma and Ba 2015), fused: parameter and both moments are read and written once.
/// All tensors float32 or float64, contiguous, of one shape. Bitwise the same for every thread
/// count.
void adam_step_(at::Tensor& parameter,
                const at::Tensor& gradient,
                at::Tensor& first_moment,
                at::Tensor& second_moment,
                const AdamHyper& hyper);

/// Sum of squares in double, the same bits for every thread count.
[[nodiscard]] double squared_norm(const at::Tensor& tensor);

}  // namespace lorsa::kernels
