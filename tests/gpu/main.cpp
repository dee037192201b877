#include <cstdio>

#define CATCH_CONFIG_RUNNER
#include <catch2/catch.hpp>

#include "lorsa/core/device.h"
#include "lorsa/core/error.h"

// Without a device the binary exits 77, which ctest reports as skipped: Catch2 v2 cannot skip, and
// a silent pass is a lie.
int main(int argc, char** argv) {
  try {
    static_cast<void>(lorsa::resolve_device("cuda"));
  } catch (const lorsa::DeviceError& error) {
    std::printf("%s\n", error.what());
    return 77;
  }
  return Catch::Session().run(argc, argv);
}
