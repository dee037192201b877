#include "experiments/results.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "lorsa/core/error.h"
#include "lorsa/eval/metrics.h"
#include "lorsa/train/config.h"

namespace lorsa::experiments {
namespace {

namespace fs = std::filesystem;

/// Throws ConfigError naming the keys in which what stands in the folder is another run. Keys that
/// only one side knows are those of another version of the program.
void check_same(const RunPlan& run, const Configuration& standing) {
  std::string changes;
  for (const auto& [key, value] : run.identity) {
    const auto before = standing.find(key);
    if (before != standing.end() && before->second != value) {
      changes += formatted("{}{}: the run has {}, the sweep says {}", changes.empty() ? " " : "; ",
                           key, before->second, value);
    }
  }
  LORSA_CHECK(changes.empty(), ConfigError,
              "{} was made with another configuration; use another sweep.out or undo:{}",
              run.folder, changes);
}

Configuration configuration_in(const io::Json& result, const std::string& where) {
  Configuration configuration;
  const io::Json object = io::member<io::Json>(result, "configuration", where);
  for (const auto& [key, value] : object.items()) {
    configuration[key] = io::member<std::string>(object, key, where + ": configuration");
  }
  return configuration;
}

/// What a training that is not finished was begun with.
Configuration begun_configuration(const fs::path& config_yaml) {
  train::RunConfig config;
  config::Fields fields;
  describe(fields, config);
  config::load(fields, config_yaml, {});
  return resolved(fields).yaml;
}

io::Json finished_runs(const SweepPlan& plan, const std::vector<io::Json>& results) {
  io::Json runs = io::Json::array();
  for (size_t i = 0; i < plan.runs.size(); ++i) {
    io::Json run;
    run["name"] = plan.runs[i].name;
    run["settings"] = plan.runs[i].settings;
    run["metrics"] = results[i].at("metrics");
    if (results[i].contains("rules")) {
      run["rules"] = results[i].at("rules");
    }
    runs.push_back(std::move(run));
  }
  return runs;
}

}  // namespace

const std::vector<std::string>& metric_names() {
  static const std::vector<std::string> kNames = [] {
    std::vector<std::string> names = {"parameters", "tokens"};
    for (const eval::Metric& metric : eval::eval_metrics()) {
      names.emplace_back(metric.name);
    }
    names.insert(names.end(), {"rule_f1", "rule_mhsa_f1", "rules_above", "rule_source_share"});
    return names;
  }();
  return kNames;
}

io::Json measured_with(const SweepConfig::Measure& measure, const RunPlan& run) {
  const bool own_model = measure.model.empty() && run.toy.has_value();
  return {{"eval", measure.eval},
          {"model", own_model ? "toy" : measure.model},
          {"max_rows", measure.max_rows},
          {"pattern_rows", measure.pattern_rows},
          {"batch_sequences", measure.batch_sequences},
          {"rules", measure.rules}};
}

std::optional<io::Json> standing_result(const RunPlan& run, const io::Json& measured) {
  if (fs::exists(run.result())) {
    io::Json result = io::read_json(run.result());
    const std::string where = run.result().string();
    check_same(run, configuration_in(result, where));
    const bool is_same = io::member<io::Json>(result, "measured_with", where) == measured;
    return is_same ? std::optional(std::move(result)) : std::nullopt;
  }
  if (fs::exists(run.folder / "config.yaml")) {
    check_same(run, begun_configuration(run.folder / "config.yaml"));
  }
  return std::nullopt;
}

bool is_seed(const std::string& key) {
  return key == "run.seed" || key == "toy:run.seed" || key == "data.seed";
}

std::vector<Row> rows_of(const io::Json& runs) {
  std::vector<Row> rows;
  std::map<std::string, size_t> known;
  for (size_t i = 0; i < runs.size(); ++i) {
    io::Json settings = runs[i].at("settings");
    for (const char* seed : {"run.seed", "toy:run.seed", "data.seed"}) {
      settings.erase(seed);
    }
    const auto [found, is_new] = known.emplace(settings.dump(), rows.size());
    if (is_new) {
      rows.emplace_back();
    }
    rows[found->second].runs.push_back(i);
  }
  return rows;
}

std::vector<double> values_of(const io::Json& runs, const Row& row, const std::string& name) {
  const char* part = name.find('.') == std::string::npos ? "metrics" : "settings";
  std::vector<double> values;
  for (const size_t i : row.runs) {
    const io::Json& object = runs[i].at(part);
    const auto found = object.find(name);
    if (found != object.end() && found->is_number() && std::isfinite(found->get<double>())) {
      values.push_back(found->get<double>());
    }
  }
  return values;
}

io::Json results_json(const SweepPlan& plan,
                      const std::vector<io::Json>& results,
                      const io::Json& stability,
                      const io::Json& errors) {
  io::Json json;
  json["schema"] = 1;
  const fs::path folder = (plan.out / "").parent_path();
  json["title"] = plan.sweep.title.empty() ? folder.filename().string() : plan.sweep.title;
  json["question"] = plan.sweep.question;
  json["axes"] = axes_json(plan);
  json["runs"] = finished_runs(plan, results);
  json["page"] = {{"columns", plan.page.columns},
                  {"curves", plan.page.curves},
                  {"heat_maps", plan.page.heat_maps},
                  {"fits", plan.page.fits}};
  json["fits"] = fits_of(plan.page.fits, json["runs"]);
  json["stability"] = stability;
  json["errors"] = errors;
  return json;
}

}  // namespace lorsa::experiments
