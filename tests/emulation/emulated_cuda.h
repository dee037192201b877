#pragma once

namespace lorsa::emulation {

/// While it lives, what the library computes with CUDA kernels for tensors on CUDA it computes with
/// the emulated ones for tensors of the CPU.
class EmulatedCuda {
 public:
  EmulatedCuda();
  ~EmulatedCuda();
  EmulatedCuda(const EmulatedCuda&) = delete;
  EmulatedCuda& operator=(const EmulatedCuda&) = delete;
};

}  // namespace lorsa::emulation
