#include "kernels/cuda_backend.h"
#include "lorsa/core/error.h"

namespace lorsa::kernels::cuda_backend {
namespace {

[[noreturn]] void refuse() {
  throw DeviceError("this build has no CUDA kernels: configure with LORSA_CUDA=ON, or use the CPU");
}

}  // namespace

TopK top_k_heads(const at::Tensor&, const at::Tensor&, int64_t, Selection) {
  refuse();
}

at::Tensor sparse_decode(const TopK&, const at::Tensor&, const at::Tensor&) {
  refuse();
}

DecodeLoss sparse_decode_loss(const TopK&,
                              const at::Tensor&,
                              const at::Tensor&,
                              const at::Tensor&,
                              const at::Tensor&,
                              double) {
  refuse();
}

DecodeGradients sparse_decode_backward(const TopK&,
                                       const at::Tensor&,
                                       const at::Tensor&,
                                       Selection) {
  refuse();
}

at::Tensor scatter_kept(const at::Tensor&, const at::Tensor&, int64_t) {
  refuse();
}

void adam_step_(
    at::Tensor&, const at::Tensor&, at::Tensor&, at::Tensor&, const AdamHyper&, const at::Tensor&) {
  refuse();
}

double squared_norm(const at::Tensor&) {
  refuse();
}

}  // namespace lorsa::kernels::cuda_backend
