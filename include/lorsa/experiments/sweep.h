#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "lorsa/core/api.h"
#include "lorsa/core/progress.h"
#include "lorsa/experiments/sweep_config.h"

namespace lorsa::experiments {

/// What a sweep came to.
struct SweepSummary {
  int64_t num_runs = 0;
  int64_t num_done_before = 0;  ///< found finished
  std::filesystem::path page;   ///< index.html; the table stands beside it
  std::string table;            ///< for the terminal, seeds aggregated
};

/// Carries out a sweep into sweep.out (docs/formats.md): toys/, caches/, runs/NAME/ with
/// result.json each, then table.csv (a line per run), results.json and index.html.
///
/// Runs that read the same batches (same cache, order, tokens, batch) are trained together, at most
/// sweep.together at once. A sweep ended in any way is continued by the same call, and comes to the
/// same table; runs/NAME of a changed configuration is a ConfigError naming the keys. Several
/// processes may make the same call at once and share the runs; each returns when all are done.
///
/// Throws ConfigError for axes that do not parse, keys that do not exist and runs of equal
/// settings; Interrupted after a StopSignal, with the trainings saved.
[[nodiscard]] LORSA_API SweepSummary sweep(const SweepConfig& config, Progress::Visible progress);

/// What `--dry-run` prints: the runs, what trains together, what is done. Writes nothing.
[[nodiscard]] LORSA_API std::string describe_sweep(const SweepConfig& config);

}  // namespace lorsa::experiments
