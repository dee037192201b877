#pragma once

// Torch and Catch2 both define CHECK: whatever pulls in torch's logging comes first, Catch2 last.
#include <c10/util/Logging.h>

#include <filesystem>
#include <string>

#include "support/temp_dir.h"

#undef CHECK
#include <catch2/catch.hpp>

namespace lorsa::test {

/// Path of a golden file (tests/golden).
inline std::filesystem::path golden(const std::string& name) {
  return std::filesystem::path(LORSA_TEST_GOLDEN) / name;
}

}  // namespace lorsa::test
