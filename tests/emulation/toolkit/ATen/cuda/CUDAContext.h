#pragma once

#include "cuda_runtime.h"

// What cuda_backend.cpp uses of LibTorch's CUDA half, for tensors of the CPU.

namespace at::cuda {

struct EmulatedStream {
  [[nodiscard]] cudaStream_t stream() const { return nullptr; }
};

inline EmulatedStream getCurrentCUDAStream(int) {
  return {};
}

}  // namespace at::cuda
