#include "experiments/sweep_work.h"

#include <algorithm>
#include <chrono>
#include <thread>

#include "experiments/results.h"
#include "experiments/sweep_sessions.h"
#include "experiments/table.h"
#include "experiments/toy_stage.h"
#include "lorsa/collect/extract.h"
#include "lorsa/core/error.h"
#include "lorsa/core/log.h"
#include "lorsa/core/stop_signal.h"
#include "lorsa/data/cache_reader.h"
#include "lorsa/experiments/sweep_page.h"
#include "lorsa/io/files.h"
#include "lorsa/io/pending_folder.h"
#include "lorsa/train/run.h"

namespace lorsa::experiments {
namespace {

namespace fs = std::filesystem;

/// Between looks at what other processes hold: short beside any training.
constexpr std::chrono::milliseconds kBetweenLooks{200};

void stop_if_requested() {
  if (StopSignal::requested()) {
    throw Interrupted(
        "the sweep is stopped; what is finished stands: run the same command again to go on");
  }
}

}  // namespace

SweepWork::SweepWork(const SweepPlan& plan, Progress::Visible progress)
    : plan_(plan), progress_(progress), pairs_(pairs_of(plan)) {}

SweepSummary SweepWork::carry_out() {
  SweepSummary summary;
  summary.num_runs = static_cast<int64_t>(plan_.runs.size());
  for (const RunPlan& run : plan_.runs) {
    summary.num_done_before += is_done(run) ? 1 : 0;
  }
  log_info("{} runs, {} of them done", summary.num_runs, summary.num_done_before);
  std::vector<std::function<bool()>> work;
  for (const std::vector<size_t>& group : plan_.groups) {
    work.emplace_back([this, &group] { return try_group(group); });
  }
  finish_all(work);
  work.clear();
  for (const Pair& pair : pairs_) {
    work.emplace_back([this, &pair] { return try_pair(pair); });
  }
  finish_all(work);
  work = {[&] { return try_tables(summary); }};
  finish_all(work);
  return summary;
}

void SweepWork::finish_all(std::vector<std::function<bool()>>& work) {
  bool waits = false;
  while (!work.empty()) {
    const size_t before = work.size();
    std::erase_if(work, [](const std::function<bool()>& piece) {
      stop_if_requested();
      return piece();
    });
    if (work.size() == before) {
      if (!waits) {
        log_info("waiting for other processes of this sweep");
      }
      waits = true;
      std::this_thread::sleep_for(kBetweenLooks);
    }
  }
}

std::optional<SweepLock> SweepWork::lock(const std::string& name) const {
  return SweepLock::try_take(plan_.out / "locks" / (name + ".lock"));
}

bool SweepWork::is_done(const RunPlan& run) const {
  return standing_result(run, measured_with(plan_.measure, run)).has_value();
}

bool SweepWork::is_clean(const RunPlan& run) const {
  return plan_.sweep.keep_checkpoints || !fs::exists(run.folder / "checkpoints");
}

bool SweepWork::try_group(const std::vector<size_t>& group) {
  if (std::ranges::all_of(
          group, [&](size_t i) { return is_done(plan_.runs[i]) && is_clean(plan_.runs[i]); })) {
    return true;
  }
  std::vector<SweepLock> locks;
  for (const size_t i : group) {
    std::optional<SweepLock> own = lock("run-" + plan_.runs[i].name);
    if (!own) {
      return false;
    }
    locks.push_back(std::move(*own));
  }
  // Another process may have finished them meanwhile.
  std::vector<size_t> missing = group;
  std::erase_if(missing, [&](size_t i) { return is_done(plan_.runs[i]); });
  if (!missing.empty()) {
    const RunPlan& first = plan_.runs[group.front()];
    if (first.cache && !try_cache(plan_.caches[*first.cache])) {
      return false;
    }
    check_heldout(first);
    train_group(group);
    for (const size_t i : missing) {
      stop_if_requested();
      measure(i);
    }
  }
  for (const size_t i : group) {
    if (!is_clean(plan_.runs[i])) {
      io::remove_tree(plan_.runs[i].folder / "checkpoints");
    }
  }
  return true;
}

bool SweepWork::try_cache(const CachePlan& cache) {
  if (ready_caches_.contains(cache.name)) {
    return true;
  }
  const std::optional<SweepLock> own = lock("cache-" + cache.name);
  if (!own || (cache.toy && !try_toy(plan_.toys[*cache.toy]))) {
    return false;
  }
  log_info("cache {}", cache.name);
  collect::ExtractOptions options;
  options.progress = progress_;
  static_cast<void>(collect::extract(cache.config, options));
  ready_caches_.insert(cache.name);
  return true;
}

bool SweepWork::try_toy(const ToyPlan& toy) {
  const std::optional<SweepLock> own = lock("toy-" + toy.name);
  if (!own) {
    return false;
  }
  log_info("toy {}", toy.name);
  make_toy(plan_.sweep.toy, toy.overrides, progress_);
  return true;
}

void SweepWork::check_heldout(const RunPlan& run) const {
  LORSA_CHECK(!plan_.measure.eval ||
                  !data::CacheReader(run.config.data.cache).rows(data::Side::kHeldout).empty(),
              ConfigError, "{} has no held-out rows: extract some, or set measure.eval: false",
              run.config.data.cache);
}

void SweepWork::train_group(const std::vector<size_t>& group) const {
  for (const std::vector<size_t>& session : sessions_of(plan_, group)) {
    std::vector<train::RunConfig> configs;
    std::string numbers;
    for (const size_t i : session) {
      configs.push_back(plan_.runs[i].config);
      numbers += formatted("{}{}", numbers.empty() ? "" : ", ", i + 1);
    }
    log_info("training run {} of {}", numbers, plan_.runs.size());
    static_cast<void>(train::train_together(configs, progress_));
  }
}

void SweepWork::measure(size_t i) const {
  const RunPlan& run = plan_.runs[i];
  measure_run(plan_, run);
  const io::Json metrics = io::read_json(run.result()).at("metrics");
  log_info("run {} of {}: {}{}", i + 1, plan_.runs.size(), run.name,
           metrics.contains("fvu") ? formatted(": fvu {}", metrics.at("fvu").dump()) : "");
}

bool SweepWork::try_pair(const Pair& pair) const {
  if (standing_report(plan_, pair)) {
    return true;
  }
  const std::string name = pair.file(plan_).stem().string();
  const std::optional<SweepLock> own = lock("pair-" + name);
  if (!own) {
    return false;
  }
  if (!standing_report(plan_, pair)) {
    log_info("comparing {}", name);
    measure_pair(plan_, pair);
  }
  return true;
}

bool SweepWork::try_tables(SweepSummary& summary) const {
  const std::optional<SweepLock> own = lock("tables");
  if (!own) {
    return false;
  }
  std::vector<io::Json> results;
  for (const RunPlan& run : plan_.runs) {
    results.push_back(io::read_json(run.result()));
  }
  io::Json stability = io::Json::array();
  io::Json errors = io::Json::array();
  for (const Pair& pair : pairs_) {
    io::Json& list = pair.kind == Pair::Kind::kStability ? stability : errors;
    list.push_back(
        io::member<io::Json>(io::read_json(pair.file(plan_)), "report", pair.file(plan_).string()));
  }
  const io::Json json = results_json(plan_, results, stability, errors);
  io::write_json(plan_.out / "results.json", json);
  io::write_file(plan_.out / "table.csv", csv_of(json));
  summary.page = plan_.out / "index.html";
  write_sweep_page(json, summary.page);
  summary.table = table_of(json);
  return true;
}

}  // namespace lorsa::experiments
