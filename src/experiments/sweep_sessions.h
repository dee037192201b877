#pragma once

#include <cstddef>
#include <set>
#include <string>
#include <vector>

#include "experiments/sweep_plan.h"

namespace lorsa::experiments {

/// Names of the checkpoints that a training can go on from.
[[nodiscard]] std::set<std::string> checkpoints_of(const RunPlan& run);

/// The runs of a group that are still to be trained, those together that have a checkpoint in
/// common or none at all: a kill among the checkpoints of a step, or other groups of an earlier
/// call, leave some runs further than others.
[[nodiscard]] std::vector<std::vector<size_t>> sessions_of(const SweepPlan& plan,
                                                           const std::vector<size_t>& group);

}  // namespace lorsa::experiments
