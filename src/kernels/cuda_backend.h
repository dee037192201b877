#pragma once

#include <ATen/core/Tensor.h>

#include "lorsa/kernels/adam.h"
#include "lorsa/kernels/sparse.h"

// The tensor functions on CUDA, after the public ones checked their arguments. cuda_backend.cpp
// implements them over src/kernels/cuda; no_cuda.cpp, in builds without it, throws DeviceError.

namespace lorsa::kernels::cuda_backend {

TopK top_k_heads(const at::Tensor& z_PH, const at::Tensor& norm_H, int64_t k, Selection selection);

at::Tensor sparse_decode(const TopK& kept, const at::Tensor& W_O_HD, const at::Tensor& b_D);

DecodeLoss sparse_decode_loss(const TopK& kept,
                              const at::Tensor& W_O_HD,
                              const at::Tensor& b_D,
                              const at::Tensor& target_PD,
                              const at::Tensor& scored_P,
                              double grad_scale);

DecodeGradients sparse_decode_backward(const TopK& kept,
                                       const at::Tensor& W_O_HD,
                                       const at::Tensor& grad_y_PD,
                                       Selection selection);

at::Tensor scatter_kept(const at::Tensor& grad_PK, const at::Tensor& head_PK, int64_t num_heads);

void adam_step_(at::Tensor& parameter,
                const at::Tensor& gradient,
                at::Tensor& first_moment,
                at::Tensor& second_moment,
                const AdamHyper& hyper,
                const at::Tensor& bfloat16_copy);

double squared_norm(const at::Tensor& tensor);

}  // namespace lorsa::kernels::cuda_backend
