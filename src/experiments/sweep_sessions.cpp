#include "experiments/sweep_sessions.h"

#include <algorithm>
#include <filesystem>
#include <iterator>
#include <utility>

namespace lorsa::experiments {

namespace fs = std::filesystem;

std::set<std::string> checkpoints_of(const RunPlan& run) {
  std::set<std::string> names;
  std::error_code none;
  for (const auto& entry : fs::directory_iterator(run.folder / "checkpoints", none)) {
    if (entry.path().extension() != ".tmp") {
      names.insert(entry.path().filename().string());
    }
  }
  return names;
}

std::vector<std::vector<size_t>> sessions_of(const SweepPlan& plan,
                                             const std::vector<size_t>& group) {
  std::vector<std::pair<std::set<std::string>, std::vector<size_t>>> sessions;
  for (const size_t i : group) {
    if (fs::exists(plan.runs[i].final_checkpoint() / "lorsa.json")) {
      continue;
    }
    const std::set<std::string> own = checkpoints_of(plan.runs[i]);
    bool joined = false;
    for (auto& [common, runs] : sessions) {
      std::set<std::string> both;
      std::ranges::set_intersection(common, own, std::inserter(both, both.end()));
      // The newest one of all: to fall back would be to train again.
      const bool same_newest =
          own.empty() || (!common.empty() && *own.rbegin() == *common.rbegin());
      if (!joined && common.empty() == own.empty() && same_newest) {
        common = both;
        runs.push_back(i);
        joined = true;
      }
    }
    if (!joined) {
      sessions.push_back({own, {i}});
    }
  }
  std::vector<std::vector<size_t>> lists;
  for (auto& [common, runs] : sessions) {
    lists.push_back(std::move(runs));
  }
  return lists;
}

}  // namespace lorsa::experiments
