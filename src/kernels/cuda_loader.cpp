#include "core/cuda_plugin.h"
#include "kernels/cuda_backend.h"

namespace lorsa::kernels {

const CudaBackend& cuda_backend() {
  return *static_cast<const CudaBackend*>(cuda_symbol("lorsa_cuda_kernels"));
}

}  // namespace lorsa::kernels
