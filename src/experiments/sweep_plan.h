#pragma once

// What a sweep consists of: decided before anything is written.

#include <cstddef>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "experiments/grid.h"
#include "experiments/stages.h"
#include "lorsa/experiments/sweep_config.h"
#include "lorsa/io/json.h"

namespace lorsa::experiments {

struct ToyPlan {
  std::string name;
  std::filesystem::path folder;
  std::vector<std::string> overrides;  ///< of sweep.toy, run.out among them
  Configuration yaml;                  ///< for comparison
};

struct CachePlan {
  std::string name;
  collect::ExtractConfig config;
  std::filesystem::path layer_folder;
  std::optional<size_t> toy;
  Configuration yaml;  ///< for comparison
};

struct RunPlan {
  std::string name;
  std::filesystem::path folder;
  train::RunConfig config;
  std::optional<size_t> cache;
  std::optional<size_t> toy;
  /// What the run is the result of, keys with prefixes: all stages' settings without folders that
  /// the sweep chooses and without what changes no number.
  Configuration identity;
  io::Json configuration;  ///< everything, for reading
  io::Json settings;       ///< swept keys and model.kind, in results.json's form

  [[nodiscard]] std::filesystem::path final_checkpoint() const { return folder / "final"; }

  [[nodiscard]] std::filesystem::path result() const { return folder / "result.json"; }
};

struct SweepPlan {
  SweepConfig::Sweep sweep;
  SweepConfig::Measure measure;
  SweepConfig::Page page;
  std::filesystem::path out;
  std::vector<Axis> axes;
  std::vector<ToyPlan> toys;
  std::vector<CachePlan> caches;
  std::vector<RunPlan> runs;                ///< in the order of the grid
  std::vector<std::vector<size_t>> groups;  ///< of runs that train together
};

/// Reads all configurations and checks them against each other. Writes nothing. Throws ConfigError
/// and IoError.
[[nodiscard]] SweepPlan plan_sweep(const SweepConfig& config);

/// The `axes` of results.json, with the values as the configurations took them: those of a run at
/// which the axis has them.
[[nodiscard]] io::Json axes_json(const SweepPlan& plan);

/// Of a training's keys with their prefixes, those that say what comes out.
[[nodiscard]] bool is_identity(const std::string& key);

/// Whether the runs share all settings but seeds of the training.
[[nodiscard]] bool differ_in_seed_alone(const RunPlan& a, const RunPlan& b);

}  // namespace lorsa::experiments
