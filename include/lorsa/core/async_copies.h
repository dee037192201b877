#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

#include <memory>
#include <vector>

#include "lorsa/core/api.h"

namespace lorsa {

/// Copies from the host to a device, which run beside what the device computes.
///
/// One thread; neither call waits for the device.
class LORSA_API AsyncCopies {
 public:
  AsyncCopies() = default;
  virtual ~AsyncCopies() = default;
  AsyncCopies(const AsyncCopies&) = delete;
  AsyncCopies& operator=(const AsyncCopies&) = delete;

  /// Begins to copy a tensor of page-locked memory, its dtype unchanged. The caller may let go of
  /// `host`, but not write to it; the result is not to be read before join().
  [[nodiscard]] virtual at::Tensor begin(const at::Tensor& host) = 0;

  /// What the device is given from now on finds these results of begin() filled.
  virtual void join(const std::vector<at::Tensor>& copies) = 0;
};

/// Copies to a CUDA device, null for the CPU. Throws DeviceError where this build has no CUDA.
[[nodiscard]] LORSA_API std::unique_ptr<AsyncCopies> make_async_copies(c10::Device device);

}  // namespace lorsa
