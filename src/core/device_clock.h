#pragma once

#include <c10/core/Device.h>

#include <cstddef>
#include <memory>
#include <vector>

namespace lorsa {

/// How long a device works on consecutive parts of what it is given, read without waiting for it.
/// The host runs ahead of a device: its own time says nothing of the device's. Wall time on the
/// CPU.
///
/// One thread.
class DeviceClock {
 public:
  DeviceClock() = default;
  virtual ~DeviceClock() = default;
  DeviceClock(const DeviceClock&) = delete;
  DeviceClock& operator=(const DeviceClock&) = delete;

  /// What the device was given since the last lap belongs to `part`, below the number of parts.
  virtual void lap(size_t part) = 0;

  /// Seconds of every part since the last call. Waits for the last lap.
  [[nodiscard]] virtual std::vector<double> take() = 0;
};

/// Of the device's current stream. The first lap begins now.
[[nodiscard]] std::unique_ptr<DeviceClock> make_device_clock(c10::Device device, size_t num_parts);

}  // namespace lorsa
