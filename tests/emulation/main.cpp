#include <ATen/Parallel.h>

#include <cstdio>

#define CATCH_CONFIG_RUNNER
#undef CHECK
#include <catch2/catch.hpp>

#include "emulation/grid.h"
#include "emulation/guarded_allocator.h"

int main(int argc, char** argv) {
  lorsa::emulation::guard_tensors();
  at::set_num_threads(1);  // kernels run on one; others would only spin beside it
  const int status = Catch::Session().run(argc, argv);
  const lorsa::emulation::Counts counts = lorsa::emulation::counts();
  std::printf("emulated %ld launches, %ld threads, %ld accesses\n", counts.launches, counts.threads,
              counts.accesses);
  return status;
}
