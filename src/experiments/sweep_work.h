#pragma once

#include <functional>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "experiments/sweep_lock.h"
#include "experiments/sweep_measure.h"
#include "experiments/sweep_plan.h"
#include "lorsa/core/progress.h"
#include "lorsa/experiments/sweep.h"

namespace lorsa::experiments {

/// Carries out a plan beside other processes that do the same.
///
/// Each piece of work (a group of runs, a pair, the tables) is done under locks; what another
/// process holds is passed over and looked at again. A dead process's locks are free.
class SweepWork {
 public:
  /// The plan is borrowed.
  SweepWork(const SweepPlan& plan, Progress::Visible progress);

  /// Throws Interrupted after a StopSignal.
  SweepSummary carry_out();

 private:
  /// Does each piece of work that no other process holds, until all are done, here or there.
  static void finish_all(std::vector<std::function<bool()>>& work);
  [[nodiscard]] std::optional<SweepLock> lock(const std::string& name) const;
  [[nodiscard]] bool is_done(const RunPlan& run) const;
  [[nodiscard]] bool is_clean(const RunPlan& run) const;
  /// False where another process holds a run of the group or its cache.
  bool try_group(const std::vector<size_t>& group);
  bool try_cache(const CachePlan& cache);
  bool try_toy(const ToyPlan& toy);
  /// Before a training whose result could not be measured.
  void check_heldout(const RunPlan& run) const;
  void train_group(const std::vector<size_t>& group) const;
  void measure(size_t i) const;
  bool try_pair(const Pair& pair) const;
  /// Everything is read back from its files, so that it does not matter who made them and when.
  bool try_tables(SweepSummary& summary) const;

  const SweepPlan& plan_;
  const Progress::Visible progress_;
  const std::vector<Pair> pairs_;
  std::set<std::string> ready_caches_;
};

}  // namespace lorsa::experiments
