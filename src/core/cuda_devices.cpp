// Part of liblorsa_cuda.so.
#include <ATen/cuda/CUDAContextLight.h>
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAFunctions.h>
#include <c10/cuda/CUDAGuard.h>

#include "core/cuda_plugin.h"
#include "lorsa/core/api.h"

namespace {

int count() {
  return c10::cuda::device_count();
}

std::string name(int device) {
  return at::cuda::getDeviceProperties(static_cast<c10::DeviceIndex>(device))->name;
}

int64_t memory_bytes(int device) {
  return static_cast<int64_t>(
      at::cuda::getDeviceProperties(static_cast<c10::DeviceIndex>(device))->totalGlobalMem);
}

lorsa::TensorMemory tensor_memory(int device) {
  namespace allocator = c10::cuda::CUDACachingAllocator;
  const c10::CachingDeviceAllocator::DeviceStats stats =
      allocator::getDeviceStats(static_cast<c10::DeviceIndex>(device));
  constexpr auto kAll = static_cast<size_t>(c10::CachingAllocator::StatType::AGGREGATE);
  return {stats.allocated_bytes[kAll].current, stats.allocated_bytes[kAll].peak,
          stats.num_device_alloc};
}

void synchronize(int device) {
  const c10::cuda::CUDAGuard guard(static_cast<c10::DeviceIndex>(device));
  c10::cuda::device_synchronize();
}

}  // namespace

extern "C" {
LORSA_API extern const lorsa::CudaDevices lorsa_cuda_devices;
const lorsa::CudaDevices lorsa_cuda_devices = {count, name, memory_bytes, tensor_memory,
                                               synchronize};
}
