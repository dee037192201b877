#pragma once

#include <filesystem>
#include <string>

namespace lorsa::test {

/// The root of the sources.
std::filesystem::path source_dir();

/// Path of a golden file (tests/golden).
std::filesystem::path golden(const std::string& name);

/// The SmolLM2 folder that scripts/fetch_smollm2.sh makes, named by LORSA_TEST_MODEL. Throws
/// std::runtime_error without one.
std::filesystem::path smollm2_folder();

}  // namespace lorsa::test
