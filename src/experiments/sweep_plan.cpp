#include "experiments/sweep_plan.h"

#include <algorithm>
#include <map>
#include <set>

#include "experiments/results.h"
#include "lorsa/core/error.h"
#include "lorsa/core/launch.h"
#include "lorsa/train/run.h"

namespace lorsa::experiments {
namespace {

namespace fs = std::filesystem;

/// Folders that the sweep chooses, and what changes no number or only how often it is written.
const std::set<std::string> kNoIdentity = {"run.out",
                                           "run.device",
                                           "run.threads",
                                           "run.rank_timeout_s",
                                           "data.read_ahead_batches",
                                           "data.reader_threads",
                                           "checkpoint.every_tokens",
                                           "checkpoint.keep",
                                           "log.every_tokens",
                                           "log.dead_window_tokens",
                                           "cache:out.path",
                                           "cache:run.device",
                                           "cache:run.threads",
                                           "cache:run.rank_timeout_s",
                                           "toy:run.out",
                                           "toy:run.device",
                                           "toy:run.threads"};

void check_stages(const SweepPlan& plan) {
  LORSA_CHECK(plan.sweep.toy.empty() || !plan.sweep.cache.empty(), ConfigError,
              "sweep.toy = {} needs sweep.cache: runs read the toy's activations", plan.sweep.toy);
  LORSA_CHECK(!plan.measure.rules || !plan.sweep.toy.empty(), ConfigError,
              "measure.rules needs sweep.toy: only a toy has rules that are known");
  LORSA_CHECK(launch_rank().world_size == 1, ConfigError,
              "a sweep is not started by torchrun, mpirun or srun as one job: start lorsa-sweep "
              "several times, the processes share the runs");
}

void add_prefixed(Configuration& all, Stage stage, const Configuration& own) {
  for (const auto& [key, value] : own) {
    all[prefix_of(stage) + key] = value;
  }
}

/// Builds a SweepPlan point by point.
class Planner {
 public:
  explicit Planner(SweepPlan& plan) : plan_(plan) {
    plan_.out = plan.sweep.out;
    plan_.axes = parse_axes(plan.sweep.axes);
  }

  void fill() {
    const StageReader reader(plan_.sweep, plan_.axes);
    for (const GridPoint& point : grid_points(plan_.axes)) {
      add(point, reader.read(point));
    }
    check_distinct();
    group();
  }

 private:
  /// The toy of these settings, each only once.
  size_t toy_of(const GridPoint& point, const PointStages& stages) {
    ToyPlan toy;
    toy.name = name_of(point.settings, {Stage::kToy}, "toy");
    toy.folder = plan_.out / "toys" / toy.name;
    toy.yaml = stages.toy_settings.yaml;
    toy.overrides = stages.toy_overrides;
    toy.overrides.push_back(formatted("run.out={}", quoted_yaml(toy.folder.string())));
    return find_or_add(plan_.toys, std::move(toy));
  }

  size_t cache_of(const GridPoint& point, const PointStages& stages, std::optional<size_t> toy) {
    CachePlan cache;
    cache.name = name_of(point.settings, {Stage::kToy, Stage::kCache}, "cache");
    cache.config = stages.cache;
    cache.yaml = stages.cache_settings.yaml;
    cache.toy = toy;
    const fs::path folder = plan_.out / "caches" / cache.name;
    cache.config.out.path = folder.string();
    cache.layer_folder =
        folder /
        folder_name(
            {cache.config.layers.front(),
             component_named(cache.config.components.front()).value_or(Component::kAttention)});
    if (toy) {
      cache.config.model.path = plan_.toys[*toy].folder.string();
      cache.config.data.files = {(plan_.toys[*toy].folder / "corpus.npy").string()};
    }
    return find_or_add(plan_.caches, std::move(cache));
  }

  template <typename StagePlan>
  static size_t find_or_add(std::vector<StagePlan>& all, StagePlan one) {
    for (size_t i = 0; i < all.size(); ++i) {
      if (all[i].name == one.name) {
        LORSA_CHECK(all[i].yaml == one.yaml, ConfigError,
                    "sweep.axes: two stages of different settings would be named {}", one.name);
        return i;
      }
    }
    all.push_back(std::move(one));
    return all.size() - 1;
  }

  void add(const GridPoint& point, const PointStages& stages) {
    RunPlan run;
    run.name = point.name;
    run.folder = plan_.out / "runs" / point.name;
    run.config = stages.train;
    run.config.run.out = run.folder.string();
    Configuration all = stages.train_settings.yaml;
    all["run.out"] = run.config.run.out;
    if (!plan_.sweep.toy.empty()) {
      run.toy = toy_of(point, stages);
      add_prefixed(all, Stage::kToy, stages.toy_settings.yaml);
    }
    if (!plan_.sweep.cache.empty()) {
      run.cache = cache_of(point, stages, run.toy);
      run.config.data.cache = plan_.caches[*run.cache].layer_folder.string();
      all["data.cache"] = run.config.data.cache;
      add_prefixed(all, Stage::kCache, stages.cache_settings.yaml);
    }
    try {
      train::validate(run.config);
    } catch (const ConfigError& error) {
      throw ConfigError(formatted("run {}: {}", run.name, error.what()));
    }
    run.configuration = all;
    run.identity = all;
    std::erase_if(run.identity, [&](const auto& entry) {
      return !is_identity(entry.first) || (run.cache && entry.first == "data.cache");
    });
    run.settings = settings_of(point, stages);
    plan_.runs.push_back(std::move(run));
  }

  static io::Json settings_of(const GridPoint& point, const PointStages& stages) {
    io::Json settings = io::Json::object();
    for (const Setting& setting : point.settings) {
      const Resolved& stage = setting.key.stage == Stage::kTrain   ? stages.train_settings
                              : setting.key.stage == Stage::kCache ? stages.cache_settings
                                                                   : stages.toy_settings;
      settings[setting.key.full()] = stage.values.at(setting.key.key);
    }
    settings["model.kind"] = stages.train_settings.values.at("model.kind");
    return settings;
  }

  void check_distinct() const {
    std::map<Configuration, std::string> seen;
    for (const RunPlan& run : plan_.runs) {
      const auto [found, is_new] = seen.emplace(run.identity, run.name);
      LORSA_CHECK(is_new, ConfigError, "sweep.axes: {} and {} have equal settings", found->second,
                  run.name);
    }
  }

  void group() {
    std::map<std::map<std::string, std::string>, size_t> open;
    for (size_t i = 0; i < plan_.runs.size(); ++i) {
      const auto stream = train::shared_settings(plan_.runs[i].config);
      const auto found = open.find(stream);
      const bool joins =
          found != open.end() &&
          static_cast<int64_t>(plan_.groups[found->second].size()) < plan_.sweep.together;
      if (!joins) {
        open[stream] = plan_.groups.size();
        plan_.groups.emplace_back();
      }
      plan_.groups[open[stream]].push_back(i);
    }
  }

  SweepPlan& plan_;
};

}  // namespace

bool is_identity(const std::string& key) {
  return !kNoIdentity.contains(key);
}

bool differ_in_seed_alone(const RunPlan& a, const RunPlan& b) {
  Configuration x = a.identity;
  Configuration y = b.identity;
  x.erase("run.seed");
  y.erase("run.seed");
  return x == y && a.config.run.seed != b.config.run.seed;
}

io::Json axes_json(const SweepPlan& plan) {
  io::Json axes = io::Json::array();
  size_t stride = plan.runs.size();
  for (const Axis& axis : plan.axes) {
    io::Json keys = io::Json::array();
    io::Json values = io::Json::array();
    stride /= axis.points.size();
    for (const StageKey& key : axis.keys) {
      keys.push_back(key.full());
    }
    for (size_t i = 0; i < axis.points.size(); ++i) {
      io::Json point = io::Json::array();
      for (const StageKey& key : axis.keys) {
        point.push_back(plan.runs[i * stride].settings.at(key.full()));
      }
      values.push_back(point);
    }
    axes.push_back({{"keys", keys}, {"values", values}});
  }
  return axes;
}

SweepPlan plan_sweep(const SweepConfig& config) {
  SweepPlan plan{config.sweep, config.measure, config.page, {}, {}, {}, {}, {}, {}};
  check_stages(plan);
  Planner(plan).fill();
  check_plots(plan);
  return plan;
}

}  // namespace lorsa::experiments
