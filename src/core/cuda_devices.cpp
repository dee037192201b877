// Part of liblorsa_cuda.so.
#include <ATen/cuda/CUDAContextLight.h>
#include <c10/cuda/CUDAFunctions.h>

#include "core/cuda_plugin.h"

namespace {

int count() {
  return c10::cuda::device_count();
}

std::string name(int device) {
  return at::cuda::getDeviceProperties(static_cast<c10::DeviceIndex>(device))->name;
}

}  // namespace

extern "C" {
extern const lorsa::CudaDevices lorsa_cuda_devices;
const lorsa::CudaDevices lorsa_cuda_devices = {count, name};
}
