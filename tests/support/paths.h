#pragma once

#include <filesystem>
#include <string>

namespace lorsa::test {

/// The root of the sources.
std::filesystem::path source_dir();

/// Path of a golden file (tests/golden).
std::filesystem::path golden(const std::string& name);

}  // namespace lorsa::test
