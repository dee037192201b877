#pragma once

#include <cstdint>

#include "lorsa/core/api.h"

namespace lorsa {

/// Which of the processes of one job this is.
struct LaunchRank {
  int64_t rank = 0;
  int64_t world_size = 1;
  int64_t local_rank = 0;  ///< among those of the same machine: the number of its CUDA device

  bool operator==(const LaunchRank&) const = default;
};

/// What the program that started this process says in its environment: torchrun (RANK, WORLD_SIZE,
/// LOCAL_RANK), Open MPI's mpirun (OMPI_COMM_WORLD_*), MPICH's and other PMI launchers (PMI_RANK,
/// PMI_SIZE, MPI_LOCALRANKID) or srun (SLURM_PROCID, SLURM_STEP_NUM_TASKS, SLURM_LOCALID; not in a
/// batch script, which is one process): the first that gives both rank and size. Rank 0 of 1 if
/// none does. ConfigError naming the variable where one is no number or out of range.
[[nodiscard]] LORSA_API LaunchRank launch_rank();

}  // namespace lorsa
