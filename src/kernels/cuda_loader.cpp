#include "core/cuda_plugin.h"
#include "kernels/cuda_backend.h"
#include "kernels/emulated_device.h"

namespace lorsa::kernels {
namespace {

const CudaBackend* emulated = nullptr;

}  // namespace

const CudaBackend& cuda_backend() {
  return emulated != nullptr ? *emulated
                             : *static_cast<const CudaBackend*>(cuda_symbol("lorsa_cuda_kernels"));
}

bool runs_on_device(const at::Tensor& tensor) {
  return tensor.is_cuda() || (emulated != nullptr && tensor.is_cpu());
}

void emulate_device(const CudaBackend* backend) {
  emulated = backend;
}

}  // namespace lorsa::kernels
