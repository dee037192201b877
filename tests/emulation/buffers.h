#pragma once

#include "emulation/region.h"

namespace lorsa::emulation {

/// The buffer that holds the address, or whose guards do; null where there is none.
[[nodiscard]] Region* find_buffer(uintptr_t address);

/// The shared variable of the running block, likewise.
[[nodiscard]] Region* find_shared(uintptr_t address);
[[nodiscard]] bool in_shared_memory(uintptr_t address);

}  // namespace lorsa::emulation
