#include "lorsa/experiments/sweep.h"

#include <algorithm>
#include <sstream>

#include "experiments/results.h"
#include "experiments/sweep_measure.h"
#include "experiments/sweep_plan.h"
#include "experiments/sweep_sessions.h"
#include "experiments/sweep_work.h"

namespace lorsa::experiments {
namespace {

namespace fs = std::filesystem;

/// How far a run is, for --dry-run.
const char* state_of(const SweepPlan& plan, const RunPlan& run) {
  if (standing_result(run, measured_with(plan.measure, run))) {
    return "done";
  }
  if (fs::exists(run.final_checkpoint() / "lorsa.json")) {
    return "trained, to be measured";
  }
  return checkpoints_of(run).empty() ? "to be trained" : "begun";
}

}  // namespace

SweepSummary sweep(const SweepConfig& config, Progress::Visible progress) {
  const SweepPlan plan = plan_sweep(config);
  return SweepWork(plan, progress).carry_out();
}

std::string describe_sweep(const SweepConfig& config) {
  const SweepPlan plan = plan_sweep(config);
  const std::vector<Pair> pairs = pairs_of(plan);
  std::ostringstream out;
  int64_t num_done = 0;
  for (size_t g = 0; g < plan.groups.size(); ++g) {
    const RunPlan& first = plan.runs[plan.groups[g].front()];
    out << "group " << g + 1 << ": " << first.config.train.tokens << " tokens of "
        << first.config.data.cache << '\n';
    for (const size_t i : plan.groups[g]) {
      const std::string state = state_of(plan, plan.runs[i]);
      num_done += state == "done" ? 1 : 0;
      out << "  run " << i + 1 << "  " << plan.runs[i].name << "  " << state << '\n';
    }
  }
  for (const ToyPlan& toy : plan.toys) {
    out << "toy    " << toy.folder.string() << '\n';
  }
  for (const CachePlan& cache : plan.caches) {
    const bool stands = fs::exists(cache.layer_folder / "manifest.json");
    out << "cache  " << cache.layer_folder.string() << (stands ? "" : " (to be extracted)") << '\n';
  }
  const auto num_pairs_done = std::ranges::count_if(
      pairs, [&](const Pair& pair) { return standing_report(plan, pair).has_value(); });
  if (!pairs.empty()) {
    out << "pairs  " << num_pairs_done << " of " << pairs.size() << " compared\n";
  }
  out << "runs   " << num_done << " of " << plan.runs.size() << " done\n";
  return out.str();
}

}  // namespace lorsa::experiments
