#include <cstdio>

#define CATCH_CONFIG_RUNNER
#include <catch2/catch.hpp>

#include "dist/ranks.h"
#include "lorsa/core/error.h"

namespace lorsa::dist {
namespace {

std::unique_ptr<Communicator> shared;

}  // namespace

Options rank_options() {
  Options options;
  options.rank = launch_rank();
  options.timeout_s = 60;
  return options;
}

Communicator& ranks() {
  return *shared;
}

}  // namespace lorsa::dist

// Every rank runs the same cases in the same order. One whose case fails leaves the rest out: the
// others must not wait for it.
int main(int argc, char** argv) {
  using namespace lorsa::dist;
  try {
    shared = make_communicator(rank_options());
    if (shared->world_size() == 1) {
      std::printf("one rank: start this program with mpirun\n");
      return 1;
    }
    Catch::Session session;
    int code = session.applyCommandLine(argc, argv);
    session.configData().abortAfter = 1;
    code = code == 0 ? session.run() : code;
    if (code != 0) {
      std::fflush(nullptr);
      abort_job(code);
    }
    shared->finish();
    shared.reset();
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    abort_job(1);
    return 1;
  }
}
