#pragma once

#include <ATen/core/Tensor.h>

#include "kernels/product.h"
#include "lorsa/kernels/adam.h"
#include "lorsa/kernels/rope.h"
#include "lorsa/kernels/sparse.h"

namespace lorsa::kernels {

/// The tensor functions on CUDA, after the public ones of the same names checked their arguments.
/// cuda_backend.cpp, part of liblorsa_cuda.so, implements them over src/kernels/cuda and exports
/// them as "lorsa_cuda_kernels".
struct CudaBackend {
  /// As with ScoreCheck::kLater; first_invalid is always defined.
  TopK (*top_k_heads)(const at::Tensor& z_PH,
                      const at::Tensor& norm_H,
                      int64_t k,
                      Selection selection);
  decltype(&kernels::sparse_decode) sparse_decode;
  decltype(&kernels::sparse_decode_loss) sparse_decode_loss;
  decltype(&kernels::sparse_decode_backward) sparse_decode_backward;
  decltype(&kernels::scatter_kept) scatter_kept;
  decltype(&kernels::apply_rope_) apply_rope_;
  decltype(&kernels::adam_step_) adam_step_;
  decltype(&kernels::squared_norm) squared_norm;
  /// Where grad_PK is not 0, for QK heads of `group` heads each; both contiguous.
  QueryRows (*query_rows)(const at::Tensor& grad_PK,
                          const at::Tensor& head_PK,
                          int64_t num_qk_heads,
                          int64_t group);
  /// product_tn_heads() of contiguous tensors whose widths are multiples of kGatheredStep.
  LinearGradients (*product_tn_rows)(const at::Tensor& grad_PSE,
                                     const at::Tensor& x_PD,
                                     const QueryRows& rows);
};

/// Loads the plug-in; DeviceError where there is none.
[[nodiscard]] const CudaBackend& cuda_backend();

/// Whether the functions of cuda_backend() compute with this tensor: it is on CUDA, or a test
/// emulates the device on the CPU (emulated_device.h).
[[nodiscard]] bool runs_on_device(const at::Tensor& tensor);

}  // namespace lorsa::kernels
