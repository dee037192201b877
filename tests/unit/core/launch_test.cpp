#include "lorsa/core/launch.h"

#include <array>
#include <cstdlib>
#include <initializer_list>
#include <string>
#include <utility>

#include "lorsa/core/error.h"
#include "support/throws.h"

namespace lorsa {
namespace {

/// Sets environment variables; takes all of a launcher's away before and behind.
class Environment {
 public:
  Environment(std::initializer_list<std::pair<const char*, const char*>> values) {
    clear();
    for (const auto& [name, value] : values) {
      ::setenv(name, value, 1);
    }
  }

  ~Environment() { clear(); }

  Environment(const Environment&) = delete;
  Environment& operator=(const Environment&) = delete;

 private:
  static void clear() {
    constexpr std::array<const char*, 12> kNames = {"RANK",
                                                    "WORLD_SIZE",
                                                    "LOCAL_RANK",
                                                    "OMPI_COMM_WORLD_RANK",
                                                    "OMPI_COMM_WORLD_SIZE",
                                                    "OMPI_COMM_WORLD_LOCAL_RANK",
                                                    "PMI_RANK",
                                                    "PMI_SIZE",
                                                    "MPI_LOCALRANKID",
                                                    "SLURM_PROCID",
                                                    "SLURM_STEP_NUM_TASKS",
                                                    "SLURM_LOCALID"};
    for (const char* name : kNames) {
      ::unsetenv(name);
    }
  }
};

TEST_CASE("a process that nobody launched is rank 0 of 1", "[core]") {
  const Environment environment({});
  CHECK(launch_rank() == LaunchRank{0, 1, 0});
}

TEST_CASE("ranks come from torchrun, mpirun, PMI and srun", "[core]") {
  CHECK([] {
    const Environment torchrun({{"RANK", "5"}, {"WORLD_SIZE", "8"}, {"LOCAL_RANK", "1"}});
    return launch_rank();
  }() == LaunchRank{5, 8, 1});
  CHECK([] {
    const Environment mpirun({{"OMPI_COMM_WORLD_RANK", "2"},
                              {"OMPI_COMM_WORLD_SIZE", "4"},
                              {"OMPI_COMM_WORLD_LOCAL_RANK", "2"}});
    return launch_rank();
  }() == LaunchRank{2, 4, 2});
  CHECK([] {
    const Environment pmi({{"PMI_RANK", "3"}, {"PMI_SIZE", "4"}});
    return launch_rank();
  }() == LaunchRank{3, 4, 0});
  CHECK([] {
    const Environment srun(
        {{"SLURM_PROCID", "9"}, {"SLURM_STEP_NUM_TASKS", "16"}, {"SLURM_LOCALID", "1"}});
    return launch_rank();
  }() == LaunchRank{9, 16, 1});
}

TEST_CASE("torchrun inside srun counts, a batch script is one process", "[core]") {
  {
    const Environment both({{"RANK", "7"},
                            {"WORLD_SIZE", "8"},
                            {"LOCAL_RANK", "3"},
                            {"SLURM_PROCID", "1"},
                            {"SLURM_STEP_NUM_TASKS", "2"},
                            {"SLURM_LOCALID", "0"}});
    CHECK(launch_rank() == LaunchRank{7, 8, 3});
  }
  const Environment script({{"SLURM_PROCID", "0"}, {"SLURM_LOCALID", "0"}});
  CHECK(launch_rank() == LaunchRank{0, 1, 0});
}

TEST_CASE("nonsense from a launcher is refused with the variable's name", "[core]") {
  const auto refused = [](const char* rank, const char* size) {
    const Environment environment({{"RANK", rank}, {"WORLD_SIZE", size}});
    return test::message_of<ConfigError>([] { static_cast<void>(launch_rank()); });
  };
  test::require_parts(refused("4", "4"), {"environment: RANK", "0 to 3", "'4'"});
  test::require_parts(refused("-1", "4"), {"RANK", "'-1'"});
  test::require_parts(refused("one", "4"), {"RANK", "'one'"});
  test::require_parts(refused("0", "0"), {"WORLD_SIZE", "'0'"});
  test::require_parts(refused("0", ""), {"WORLD_SIZE", "''"});
}

}  // namespace
}  // namespace lorsa
