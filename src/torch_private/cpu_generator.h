#pragma once

#include <ATen/CPUGeneratorImpl.h>

#include <cstdint>

namespace lorsa::torch_private {

/// A generator of its own, started with `seed`: at::detail::createCPUGenerator.
///
/// Checked with LibTorch 2.11. If it goes: at::make_generator<at::CPUGeneratorImpl>(seed). Where
/// its draws change, the same seed gives other trainings: a new version of the project.
inline at::Generator cpu_generator(uint64_t seed) {
  return at::detail::createCPUGenerator(seed);
}

}  // namespace lorsa::torch_private
