#pragma once

#include <c10/util/Exception.h>

#include <cstring>
#include <exception>

namespace lorsa::torch_private {

/// Whether LibTorch's CPU allocator found no memory. It has no type for that, only a text.
///
/// Checked with LibTorch 2.11. If the text changes: the new one here.
inline bool is_cpu_out_of_memory(const std::exception& error) noexcept {
  return dynamic_cast<const c10::Error*>(&error) != nullptr &&
         std::strstr(error.what(), "DefaultCPUAllocator: can't allocate memory") != nullptr;
}

}  // namespace lorsa::torch_private
