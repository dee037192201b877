#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "lorsa/core/api.h"
#include "lorsa/core/progress.h"
#include "lorsa/train/config.h"

namespace lorsa::train {

/// What a finished run came to.
struct TrainSummary {
  int64_t tokens = 0;
  double tokens_per_s = 0.0;
  double seconds = 0.0;
  std::vector<std::filesystem::path> final_checkpoints;  ///< of every configuration, in their order
  bool already_done = false;  ///< the folder held this finished run: nothing was trained
};

/// Trains as configured: builds cache reader, model, loader and trainer, writes the run folder
/// and returns once `final/` stands. An unfinished run of the same configuration
/// in run.out is continued from its newest checkpoint; changed tokens, rates, checkpoint and log
/// settings are logged, any other change is a ConfigError naming the keys.
///
/// Under torchrun, mpirun or srun every rank calls this with the same configuration; rank 0 writes.
///
/// SIGINT or SIGTERM (while a StopSignal lives) writes a checkpoint and throws Interrupted.
[[nodiscard]] LORSA_API TrainSummary train(const RunConfig& config, Progress::Visible progress);

/// As train() for several configurations on one stream of batches, each with a run folder of its
/// own; the log is the first one's. Kinds, models, initialisations and rates may differ. Each ends
/// in the bits that train() would give it alone (on the CPU; on CUDA where neither is computed in
/// smaller micro-batches). Throws ConfigError naming the key if they differ in shared_settings()
/// or share a folder.
[[nodiscard]] LORSA_API TrainSummary train_together(const std::vector<RunConfig>& configs,
                                                    Progress::Visible progress);

/// What configurations trained together must agree in, dotted key to YAML value: the data and
/// their order (data.seed resolved), the budget, checkpoints, log and what they run on.
[[nodiscard]] LORSA_API std::map<std::string, std::string> shared_settings(const RunConfig& config);

/// What `--dry-run` prints: parameters, memory, FLOPs per token, tokens in the cache, steps. Writes
/// nothing.
[[nodiscard]] LORSA_API std::string describe_plan(const RunConfig& config);

}  // namespace lorsa::train
