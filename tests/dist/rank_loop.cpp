// dist_rank_loop TIMEOUT_S WHAT [RANK]: sums again and again as one of several ranks, until RANK
// does WHAT after three sums. Ends as the commands do.
//
//   loop    nothing: somebody kills it. Every rank writes its process id to rank-N.pid.
//   throw   throws FormatError
//   return  returns 3 from main with its communicator gone, without abort_job()
//   sleep   comes 30 s late
//   finish  all ranks finish; then RANK returns 3
//   stop    all ranks finish and return 75
#include <ATen/ops/ones.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>

#include "lorsa/core/error.h"
#include "lorsa/core/log.h"
#include "lorsa/core/stop_signal.h"
#include "lorsa/dist/communicator.h"

namespace {

using namespace lorsa;

void write_pid(int64_t rank) {
  const std::string name = formatted("rank-{}.pid", rank);
  std::ofstream(name + ".part") << ::getpid() << '\n';
  std::filesystem::rename(name + ".part", name);
}

int run(double timeout_s, const std::string& what, int64_t rank) {
  // As in the commands: the SIGTERM with which mpirun ends ranks only sets a flag.
  const StopSignal stop_signal;
  dist::Options options;
  options.rank = launch_rank();
  options.timeout_s = timeout_s;
  const auto ranks = dist::make_communicator(options);
  const bool acts = ranks->rank() == rank;
  for (int step = 0;; ++step) {
    if (step == 3) {
      write_pid(ranks->rank());
      if (what == "finish" || what == "stop") {
        ranks->finish();
        return what == "stop" ? 75 : (acts ? 3 : 0);
      }
      if (acts && what == "sleep") {
        std::this_thread::sleep_for(std::chrono::seconds(30));
      } else if (acts && what != "loop") {
        throw FormatError(formatted("rank {} fails on purpose", rank));
      }
    }
    const at::Tensor ones = at::ones({100});
    ranks->all_reduce_sum(ones);
    LORSA_CHECK(ones[99].item<double>() == static_cast<double>(ranks->world_size()), Error,
                "a wrong sum");
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
}

}  // namespace

int main(int argc, char** argv) {
  const std::string what = argc > 2 ? argv[2] : "";
  try {
    return run(std::atof(argv[1]), what, argc > 3 ? std::atoll(argv[3]) : -1);
  } catch (const std::exception& error) {
    log_error("{}", error.what());
    const int code = static_cast<int>(exit_code_for(error));
    if (what != "return") {
      dist::abort_job(code);
    }
    return code;
  }
}
