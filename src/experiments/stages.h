#pragma once

// The configurations of a sweep's stages, settled for one point of the grid.

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "experiments/grid.h"
#include "lorsa/collect/extract_config.h"
#include "lorsa/config/fields.h"
#include "lorsa/experiments/sweep_config.h"
#include "lorsa/io/json.h"
#include "lorsa/train/config.h"

namespace lorsa::experiments {

/// Dotted key to YAML value.
using Configuration = std::map<std::string, std::string>;

/// A configuration as it was read.
struct Resolved {
  Configuration yaml;
  io::Json values = io::Json::object();  ///< the same as numbers, booleans and texts
};

[[nodiscard]] Resolved resolved(const config::Fields& fields);

/// The stages of one point, paths of the sweep folder not yet filled in.
struct PointStages {
  train::RunConfig train;
  Resolved train_settings;
  collect::ExtractConfig cache;  ///< where the sweep has one
  Resolved cache_settings;
  std::vector<std::string> toy_overrides;
  Resolved toy_settings;
};

/// Reads the configurations that `sweep` names under its settings and those of a grid's points.
class StageReader {
 public:
  /// Both borrowed. Throws ConfigError for settings of stages that there are none of, and of keys
  /// that the sweep itself sets.
  StageReader(const SweepConfig::Sweep& sweep, const std::vector<Axis>& axes);

  /// Throws ConfigError naming sweep.set or the axis that an ill-typed or unknown key stands in,
  /// and IoError.
  [[nodiscard]] PointStages read(const GridPoint& point) const;

  /// Overrides of the toy's configuration at this point, run.out not among them.
  [[nodiscard]] std::vector<std::string> overrides(const GridPoint& point, Stage stage) const;

 private:
  void check_keys() const;
  /// Throws the ConfigError anew, saying where the key that it names was set.
  [[noreturn]] void explain(Stage stage, const std::string& message) const;
  template <typename Config>
  Resolved load(Config& config,
                Stage stage,
                const std::string& path,
                const std::vector<std::string>& overrides) const;
  [[nodiscard]] int64_t order_seed(const GridPoint& point, const PointStages& stages) const;

  const SweepConfig::Sweep& sweep_;
  const std::vector<Axis>& axes_;
  std::vector<Setting> set_;
};

}  // namespace lorsa::experiments
