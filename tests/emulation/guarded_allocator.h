#pragma once

namespace lorsa::emulation {

/// From now on LibTorch's tensors on the CPU are buffers of emulated kernels (memory.h), full of
/// NaN when they are new.
void guard_tensors();

}  // namespace lorsa::emulation
