#pragma once

#include <string>

namespace lorsa {

/// Version of the library, "0.1.0".
[[nodiscard]] std::string version();

/// Revision of the sources the library was built from ("unknown" outside a checkout).
[[nodiscard]] std::string git_revision();

}  // namespace lorsa
