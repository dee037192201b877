#pragma once

// What is known of finished runs, and the files that a sweep comes to.

#include <optional>
#include <string>
#include <vector>

#include "experiments/sweep_plan.h"
#include "lorsa/experiments/sweep_config.h"
#include "lorsa/io/json.h"

namespace lorsa::experiments {

/// Names of the metrics of results.json, in their order.
[[nodiscard]] const std::vector<std::string>& metric_names();

/// "Y against X [and X2] [by SERIES[, ...]]"; without a dot a metric, with one a setting.
struct Plot {
  std::string y, x, second;         ///< second: empty where there is none
  std::vector<std::string> series;  ///< runs of equal values of these are one series
};

/// Throws ConfigError naming `where` and the text.
[[nodiscard]] Plot parse_plot(const std::string& text, const std::string& where);

/// Throws ConfigError where a plot or a column names a metric or setting that the runs have not.
void check_plots(const SweepPlan& plan);

/// The options that a run's result.json depends on, beside the run's configuration.
[[nodiscard]] io::Json measured_with(const SweepConfig::Measure& measure, const RunPlan& run);

/// result.json of a run measured like this; nothing if there is none. Throws ConfigError naming the
/// keys if the run folder holds a run of another configuration, finished or not.
[[nodiscard]] std::optional<io::Json> standing_result(const RunPlan& run, const io::Json& measured);

/// Runs that differ in nothing but seeds, in the order of their first ones.
struct Row {
  std::vector<size_t> runs;
};

[[nodiscard]] std::vector<Row> rows_of(const io::Json& runs);

/// Whether a setting is a seed that rows are aggregated over.
[[nodiscard]] bool is_seed(const std::string& key);

/// Finite values of a metric or setting over a row's runs.
[[nodiscard]] std::vector<double> values_of(const io::Json& runs,
                                            const Row& row,
                                            const std::string& name);

/// The `fits` of results.json.
[[nodiscard]] io::Json fits_of(const std::vector<std::string>& plots, const io::Json& runs);

/// results.json; `results` are the runs' result.json in order, the pairs' reports as they stand.
[[nodiscard]] io::Json results_json(const SweepPlan& plan,
                                    const std::vector<io::Json>& results,
                                    const io::Json& stability,
                                    const io::Json& errors);

}  // namespace lorsa::experiments
