#include "support/paths.h"

#include <cstdlib>
#include <stdexcept>

namespace lorsa::test {

std::filesystem::path source_dir() {
  return LORSA_SOURCE_DIR;
}

std::filesystem::path golden(const std::string& name) {
  return source_dir() / "tests" / "golden" / name;
}

std::filesystem::path smollm2_folder() {
  const char* folder = std::getenv("LORSA_TEST_MODEL");
  if (folder == nullptr ||
      !std::filesystem::exists(std::filesystem::path(folder) / "config.json")) {
    throw std::runtime_error(
        "LORSA_TEST_MODEL must name the SmolLM2 folder: run scripts/fetch_smollm2.sh, then set it "
        "to quickstart/model (ctest does that)");
  }
  return folder;
}

}  // namespace lorsa::test
