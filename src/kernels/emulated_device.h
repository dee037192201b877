#pragma once

#include "kernels/cuda_backend.h"

namespace lorsa::kernels {

/// For tests: tensors of the CPU are computed by `backend`, as those of CUDA are by the plug-in's;
/// with null they are the CPU's again. `backend` is borrowed until then. No other thread may
/// compute.
void emulate_device(const CudaBackend* backend);

}  // namespace lorsa::kernels
