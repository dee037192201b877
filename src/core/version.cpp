#include "lorsa/core/version.h"

namespace lorsa {

std::string version() {
  return LORSA_VERSION;
}

std::string git_revision() {
  return LORSA_GIT_REVISION;
}

}  // namespace lorsa
