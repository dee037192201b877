#include "experiments/sweep_measure.h"

#include <cmath>

#include "experiments/results.h"
#include "lorsa/core/device.h"
#include "lorsa/core/error.h"
#include "lorsa/eval/evaluate.h"
#include "lorsa/experiments/error_analysis.h"
#include "lorsa/experiments/rule_scores.h"
#include "lorsa/experiments/stability.h"
#include "lorsa/io/files.h"
#include "lorsa/model/step_cost.h"

namespace lorsa::experiments {
namespace {

namespace fs = std::filesystem;

/// Seconds each, and one line says what came of it.
study::PassOptions pass_of(const SweepPlan& plan) {
  return {plan.measure.max_rows, plan.measure.batch_sequences, Progress::Visible::kNo};
}

/// A run's final checkpoint, its cache and its language model if it has one.
study::Study study_of(const SweepPlan& plan, const RunPlan& run) {
  study::Study study(run.config.run.device);
  study.open_cache(run.config.data.cache);
  study.open_checkpoint(run.final_checkpoint());
  if (!plan.measure.model.empty()) {
    study.open_model(plan.measure.model);
  } else if (run.toy) {
    study.open_model(plan.toys[*run.toy].folder);
  }
  return study;
}

/// The evaluation's numbers that results.json names.
void add_metrics(io::Json& metrics, const io::Json& evaluation) {
  for (const std::string& name : metric_names()) {
    const auto found = evaluation.find(name);
    if (found != evaluation.end()) {
      metrics[name] =
          found->is_number() ? io::finite_or_null(found->get<double>()) : io::Json(nullptr);
    }
  }
}

void add_rules(io::Json& result,
               const study::Study& study,
               const SweepPlan& plan,
               const RunPlan& run) {
  const RuleReport report = score_rules(study, plan.toys[*run.toy].folder / "truth.json");
  io::Json& metrics = result["metrics"];
  metrics["rule_f1"] = io::finite_or_null(report.mean_f1);
  metrics["rule_mhsa_f1"] = io::finite_or_null(report.mean_mhsa_f1);
  metrics["rules_above"] = report.num_above;
  metrics["rule_source_share"] = io::finite_or_null(report.source_share);
  result["rules"] = to_json(report);
  // A path would differ with the sweep's folder.
  result["rules"]["checkpoint"] = run.name;
}

/// Tokens a second and seconds of the training, of the group where several trained together.
io::Json speed_of(const model::CheckpointInfo& info, const std::string& where) {
  const io::Json training = io::parse_json(info.training_json, where);
  const auto tokens = io::member<double>(training, "tokens", where);
  const auto seconds = io::member<double>(training, "seconds", where);
  return {{"tokens_per_s", seconds > 0 ? io::finite_or_null(tokens / seconds) : io::Json(nullptr)},
          {"seconds", seconds}};
}

/// What a pair's report depends on beside the program.
io::Json pair_inputs(const SweepPlan& plan, const Pair& pair) {
  return {{"kind", pair.kind == Pair::Kind::kStability ? "stability" : "errors"},
          {"max_rows", plan.measure.max_rows},
          {"batch_sequences", plan.measure.batch_sequences},
          {"first", plan.runs[pair.first].identity},
          {"second", plan.runs[pair.second].identity}};
}

io::Json compare(const SweepPlan& plan, const Pair& pair) {
  const RunPlan& first = plan.runs[pair.first];
  const RunPlan& second = plan.runs[pair.second];
  study::Study study;
  study.open_cache(first.config.data.cache);
  study.open_checkpoint(first.final_checkpoint());
  study.open_checkpoint(second.final_checkpoint());
  if (pair.kind == Pair::Kind::kStability) {
    io::Json report = to_json(match_heads(study, pass_of(plan)));
    report["first"] = first.name;
    report["second"] = second.name;
    return report;
  }
  io::Json report = to_json(analyze_errors(study, pass_of(plan)));
  report["checkpoint"] = first.name;
  report["reference"] = second.name;
  return report;
}

}  // namespace

void measure_run(const SweepPlan& plan, const RunPlan& run) {
  const NumThreads threads(run.config.run.threads);
  const study::Study study = study_of(plan, run);
  const study::Member& member = study.members().front();
  io::Json result;
  result["schema"] = 1;
  result["name"] = run.name;
  result["settings"] = run.settings;
  result["metrics"] = {{"parameters", model::num_parameters(member.dictionary.shape())},
                       {"tokens", run.config.train.tokens}};
  io::Json evaluation;
  if (plan.measure.eval) {
    eval::EvalOptions options;
    options.pass = pass_of(plan);
    options.pattern_rows = plan.measure.pattern_rows;
    evaluation = to_json(eval::evaluate(study, options).front());
    add_metrics(result["metrics"], evaluation);
  }
  if (plan.measure.rules) {
    add_rules(result, study, plan, run);
  }
  result["measured_with"] = measured_with(plan.measure, run);
  result["configuration"] = run.configuration;
  result["speed"] = speed_of(member.info, run.final_checkpoint().string());
  result["evaluation"] = evaluation;
  io::write_json(run.result(), result);
}

fs::path Pair::file(const SweepPlan& plan) const {
  return plan.out / "pairs" / (plan.runs[first].name + "--" + plan.runs[second].name + ".json");
}

std::vector<Pair> pairs_of(const SweepPlan& plan) {
  std::vector<Pair> pairs;
  const auto reads = [&](size_t i) {
    return model::kind_info(plan.runs[i].config.model.kind).reads;
  };
  for (size_t i = 0; plan.measure.stability && i < plan.runs.size(); ++i) {
    for (size_t j = i + 1; j < plan.runs.size(); ++j) {
      if (differ_in_seed_alone(plan.runs[i], plan.runs[j])) {
        pairs.push_back({Pair::Kind::kStability, i, j});
      }
    }
  }
  for (size_t i = 0; plan.measure.errors && i < plan.runs.size(); ++i) {
    for (size_t j = 0; j < plan.runs.size(); ++j) {
      const train::RunConfig& a = plan.runs[i].config;
      const train::RunConfig& b = plan.runs[j].config;
      if (a.model.num_qk_heads > 0 && reads(j) == model::Hook::kOutput &&
          a.data.cache == b.data.cache && a.run.seed == b.run.seed) {
        pairs.push_back({Pair::Kind::kErrors, i, j});
      }
    }
  }
  return pairs;
}

std::optional<io::Json> standing_report(const SweepPlan& plan, const Pair& pair) {
  const fs::path file = pair.file(plan);
  if (!fs::exists(file)) {
    return std::nullopt;
  }
  const io::Json json = io::read_json(file);
  const bool is_same =
      io::member<io::Json>(json, "inputs", file.string()) == pair_inputs(plan, pair);
  return is_same ? std::optional(io::member<io::Json>(json, "report", file.string()))
                 : std::nullopt;
}

void measure_pair(const SweepPlan& plan, const Pair& pair) {
  const fs::path file = pair.file(plan);
  io::make_directories(file.parent_path());
  io::write_json(file, io::Json{{"schema", 1},
                                {"inputs", pair_inputs(plan, pair)},
                                {"report", compare(plan, pair)}});
}

}  // namespace lorsa::experiments
