#include "support/paths.h"

namespace lorsa::test {

std::filesystem::path source_dir() {
  return LORSA_SOURCE_DIR;
}

std::filesystem::path golden(const std::string& name) {
  return source_dir() / "tests" / "golden" / name;
}

}  // namespace lorsa::test
