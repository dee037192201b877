#pragma once

// What is measured of runs and pairs of runs, and the files it stands in.

#include <filesystem>
#include <optional>
#include <vector>

#include "experiments/sweep_plan.h"
#include "lorsa/io/json.h"

namespace lorsa::experiments {

/// Judges a trained run and writes its result.json. Throws as eval::evaluate() and score_rules().
void measure_run(const SweepPlan& plan, const RunPlan& run);

/// Two runs that are compared.
struct Pair {
  enum class Kind { kStability, kErrors } kind = Kind::kStability;
  size_t first = 0;   ///< kErrors: the Lorsa
  size_t second = 0;  ///< kErrors: the SAE

  /// pairs/A--B.json
  [[nodiscard]] std::filesystem::path file(const SweepPlan& plan) const;
};

/// All that measure.stability and measure.errors ask for.
[[nodiscard]] std::vector<Pair> pairs_of(const SweepPlan& plan);

/// The report of a pair that was measured like this, with run names for checkpoints; nothing if
/// there is none.
[[nodiscard]] std::optional<io::Json> standing_report(const SweepPlan& plan, const Pair& pair);

/// Compares the runs of a pair and writes its file.
void measure_pair(const SweepPlan& plan, const Pair& pair);

}  // namespace lorsa::experiments
