#pragma once

#include <string>

namespace lorsa::emulation {

/// "top_k_kernel<T = float, int kItems = 4>" of a __PRETTY_FUNCTION__ by g++ or clang++.
[[nodiscard]] std::string kernel_name(const std::string& pretty_function);

}  // namespace lorsa::emulation
