#include "emulation/emulated_cuda.h"

#include "kernels/emulated_device.h"

// By cuda_backend.cpp, which is compiled for the emulation once more.
extern "C" const lorsa::kernels::CudaBackend lorsa_cuda_kernels;

namespace lorsa::emulation {

EmulatedCuda::EmulatedCuda() {
  kernels::emulate_device(&lorsa_cuda_kernels);
}

EmulatedCuda::~EmulatedCuda() {
  kernels::emulate_device(nullptr);
}

}  // namespace lorsa::emulation
