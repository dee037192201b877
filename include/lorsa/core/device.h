#pragma once

#include <c10/core/Device.h>

#include <cstdint>
#include <string>

#include "lorsa/core/api.h"

namespace lorsa {

/// Turns "auto", "cpu", "cuda" or "cuda:1" into a device that exists.
///
/// "auto" takes a CUDA device where one can be used and the CPU elsewhere, and logs the choice
/// once. "auto" and "cuda" take device `local_rank` (LaunchRank), or the only one where a launcher
/// shows each process its own. Throws DeviceError if a CUDA device is asked for that this build or
/// this machine does not have, ConfigError for any other text.
[[nodiscard]] LORSA_API c10::Device resolve_device(const std::string& name, int64_t local_rank = 0);

/// While it lives LibTorch computes with `num_threads` CPU threads, then with as many as before. 0
/// leaves their number. The number is the whole process's: no two of these at once in different
/// threads. Throws ConfigError for a negative number.
class LORSA_API NumThreads {
 public:
  explicit NumThreads(int64_t num_threads);
  ~NumThreads();
  NumThreads(const NumThreads&) = delete;
  NumThreads& operator=(const NumThreads&) = delete;

 private:
  int before_;
};

/// "cpu, 2 threads, <processor name>" or the CUDA device's name: for logs and environment.json.
[[nodiscard]] LORSA_API std::string device_description(c10::Device device);

/// All memory of a CUDA device, or of this machine for the CPU.
[[nodiscard]] LORSA_API int64_t device_memory_bytes(c10::Device device);

/// For what an option may ask for: ConfigError "<what>: ... of memory needed, ... has ..." where
/// `bytes` are more than the device has in all. What is less may still not be free.
LORSA_API void check_memory(double bytes, c10::Device device, const std::string& what);

/// What tensors of this process hold of a CUDA device.
struct TensorMemory {
  int64_t held_bytes = 0;
  int64_t peak_bytes = 0;       ///< the most they have held at once so far
  int64_t num_allocations = 0;  ///< times that memory was taken from the device, not reused
};

/// All 0 for the CPU.
[[nodiscard]] LORSA_API TensorMemory tensor_memory(c10::Device device);

/// Waits until a CUDA device has done all it was given; nothing to wait for on the CPU.
LORSA_API void synchronize(c10::Device device);

}  // namespace lorsa
