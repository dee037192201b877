#include "lorsa/core/launch.h"

#include <array>
#include <charconv>
#include <cstdlib>
#include <cstring>

#include "lorsa/core/error.h"

namespace lorsa {
namespace {

struct Launcher {
  const char* rank;
  const char* world_size;
  const char* local_rank;
};

// torchrun first: it may itself be started by srun, once a machine.
constexpr std::array<Launcher, 4> kLaunchers = {
    {{"RANK", "WORLD_SIZE", "LOCAL_RANK"},
     {"OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK"},
     {"PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID"},
     // In a batch script SLURM_PROCID is set too, the number of the step's tasks is not.
     {"SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID"}}};

int64_t number_in(const char* name, int64_t low, int64_t high) {
  const char* text = std::getenv(name);
  int64_t value = 0;
  const char* last = text + std::strlen(text);
  const auto [end, code] = std::from_chars(text, last, value);
  LORSA_CHECK(code == std::errc() && end == last && value >= low && value <= high, ConfigError,
              "environment: {}: expected a number from {} to {}, found '{}'", name, low, high,
              text);
  return value;
}

}  // namespace

LaunchRank launch_rank() {
  constexpr int64_t kMostRanks = 1 << 20;
  for (const Launcher& launcher : kLaunchers) {
    if (std::getenv(launcher.rank) == nullptr || std::getenv(launcher.world_size) == nullptr) {
      continue;
    }
    LaunchRank found;
    found.world_size = number_in(launcher.world_size, 1, kMostRanks);
    found.rank = number_in(launcher.rank, 0, found.world_size - 1);
    // Launchers without it start one process a machine, or bind devices themselves.
    found.local_rank = std::getenv(launcher.local_rank) == nullptr
                           ? 0
                           : number_in(launcher.local_rank, 0, found.world_size - 1);
    return found;
  }
  return {};
}

}  // namespace lorsa
