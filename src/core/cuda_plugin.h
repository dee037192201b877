#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "core/device_clock.h"
#include "lorsa/core/async_copies.h"
#include "lorsa/core/device.h"

// liblorsa_cuda.so holds what needs the CUDA libraries: loading those takes a program 0.15 s and
// 250 MB, also where no device is. It is looked for beside the code of this function and in ../lib
// from there.

namespace lorsa {

/// The plug-in's exported object `name`; the first call loads the plug-in. Throws DeviceError where
/// this lorsa was built without CUDA or the plug-in cannot be loaded, naming file and cause. Where
/// there is a driver the plug-in is loaded with the library.
[[nodiscard]] const void* cuda_symbol(const char* name);

/// What core asks of the CUDA runtime; exported as "lorsa_cuda_devices".
struct CudaDevices {
  int (*count)();                   ///< 0 without a driver or device; never throws
  std::string (*name)(int device);  ///< such as "NVIDIA H100"
  int64_t (*memory_bytes)(int device);
  TensorMemory (*tensor_memory)(int device);
  void (*synchronize)(int device);  ///< waits for all its work; throws what that threw
  std::unique_ptr<AsyncCopies> (*copies)(int device);
  std::unique_ptr<DeviceClock> (*clock)(int device, size_t num_parts);
};

/// Throws as cuda_symbol().
[[nodiscard]] const CudaDevices& cuda_devices();

/// Whether a driver is installed. Without one there are no devices and the plug-in need not be
/// loaded. LORSA_ASSUME_CUDA_DRIVER in the environment makes it true, for tests.
[[nodiscard]] bool has_cuda_driver();

}  // namespace lorsa
