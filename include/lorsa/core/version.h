#pragma once

#include <string>

#include "lorsa/core/api.h"

namespace lorsa {

/// Version of the library, "0.1.0".
[[nodiscard]] LORSA_API std::string version();

/// Revision of the sources the library was built from ("unknown" outside a checkout).
[[nodiscard]] LORSA_API std::string git_revision();

}  // namespace lorsa
