// lorsa-eval: judge a checkpoint on the held-out rows of a cache.

#include <algorithm>
#include <iostream>

#include "lorsa/analysis/families.h"
#include "lorsa/core/device.h"
#include "lorsa/core/error.h"
#include "lorsa/core/log.h"
#include "lorsa/core/stop_signal.h"
#include "lorsa/eval/eval_page.h"
#include "lorsa/eval/evaluate.h"
#include "lorsa/eval/together.h"
#include "lorsa/io/files.h"
#include "main.h"
#include "options.h"

namespace {

struct Arguments {
  lorsa::eval::EvalOptions options;
  lorsa::config::Fields fields;
  std::vector<std::string> checkpoints;
  std::string cache;
  std::string model;
  std::string device = "auto";
  int64_t threads = 0;
  std::string out;
  std::string html;
  bool families = false;
  bool together = false;
  bool quiet = false;
};

lorsa::study::Study open(const Arguments& arguments) {
  lorsa::study::Study study(arguments.device);
  study.open_cache(arguments.cache);
  for (const std::string& checkpoint : arguments.checkpoints) {
    study.open_checkpoint(checkpoint);
  }
  if (!arguments.model.empty()) {
    study.open_model(arguments.model);
  }
  return study;
}

/// Whether a LIST of heads, or the file that it names, names families: their heads are known once
/// all are scored.
bool names_families(const std::string& option) {
  const bool is_file = option.starts_with('@') && std::filesystem::exists(option.substr(1));
  const std::string list = is_file ? lorsa::io::read_text(option.substr(1)) : option;
  const std::vector<std::string>& names = lorsa::analysis::family_names();
  return std::any_of(names.begin(), names.end(),
                     [&](const std::string& name) { return list.find(name) != std::string::npos; });
}

/// Checkpoints of several sites in their places at once.
void run_together(const Arguments& arguments) {
  const lorsa::eval::InterventionOptions& edits = arguments.options.interventions;
  LORSA_CHECK(arguments.html.empty() && !arguments.families &&
                  arguments.options.context_lengths.empty() && !edits.any_edits() &&
                  edits.prompts.empty() && edits.prompts_file.empty() && !edits.random_control,
              ConfigError,
              "--together: leave out --html, --families, --context-lengths, --ablate-heads, "
              "--steer, --random-control, --prompt and --prompts: they are for one site");
  LORSA_CHECK(!arguments.model.empty(), ConfigError, "--together needs --model");
  const auto report = lorsa::eval::evaluate_together(open(arguments), arguments.options.pass);
  std::cout << to_table(report) << std::flush;
  if (!arguments.out.empty()) {
    lorsa::io::write_json(arguments.out, to_json(report));
  }
}

void run_eval(Arguments& arguments) {
  if (arguments.quiet) {
    lorsa::set_console_level(lorsa::LogLevel::kWarning);
    arguments.options.pass.progress = lorsa::Progress::Visible::kNo;
  }
  for (const std::string& file : {arguments.out, arguments.html}) {
    if (!file.empty()) {
      lorsa::io::check_can_write(file);
    }
  }
  const lorsa::StopSignal stop;
  const lorsa::NumThreads threads(arguments.threads);
  if (arguments.together) {
    run_together(arguments);
    return;
  }
  lorsa::eval::InterventionOptions& edits = arguments.options.interventions;
  for (const std::string& name : lorsa::analysis::family_names()) {
    edits.named_heads[name];  // known to the list's reader
  }
  const bool families = arguments.families || names_families(edits.ablate_heads);
  LORSA_CHECK(!families || !arguments.model.empty(), ConfigError,
              "--families and names of families in --ablate-heads need --model");
  const lorsa::study::Study study = open(arguments);
  std::vector<lorsa::io::Json> family_reports;
  std::string tables;
  for (size_t i = 0; families && i < study.members().size(); ++i) {
    const lorsa::analysis::FamilyReport report =
        lorsa::analysis::head_families(study, i, 16, arguments.options.pass.progress);
    edits.named_heads = report.named_heads();
    family_reports.push_back(to_json(report));
    tables += to_table(report);
  }
  const std::vector<lorsa::eval::EvalReport> reports = evaluate(study, arguments.options);
  lorsa::io::Json json = lorsa::io::Json::array();
  for (const lorsa::eval::EvalReport& report : reports) {
    json.push_back(to_json(report));
    if (families) {
      json.back().update(family_reports[json.size() - 1]);
    }
  }
  // First what cannot fail any more: a full disk takes the files, not the numbers.
  std::cout << to_table(reports) << tables << std::flush;
  if (!arguments.out.empty()) {
    lorsa::io::write_json(arguments.out, reports.size() == 1 ? json.front() : json);
  }
  if (!arguments.html.empty()) {
    lorsa::eval::write_eval_page(json, arguments.html);
  }
}

void define(CLI::App& app, Arguments& arguments) {
  using lorsa::tools::filled;
  app.add_option("CHECKPOINT", arguments.checkpoints,
                 "Checkpoint folders (lorsa.json, model.safetensors) of one site; with --together "
                 "of several")
      ->required()
      ->check(filled("a folder"));
  app.add_option("--cache", arguments.cache,
                 "Activation cache of the same site; with --together of any site of the model")
      ->required()
      ->check(filled("a folder"));
  app.add_option("--model", arguments.model,
                 "Hugging Face folder of the language model: adds ce_* and kl")
      ->check(filled("a folder"));
  app.add_option("--out", arguments.out,
                 "Write the report as JSON to this file; of several checkpoints a list")
      ->check(filled("a file"));
  app.add_option("--html", arguments.html, "Write the report as one page with plots to this file")
      ->check(filled("a file"));
  app.add_flag("--families", arguments.families,
               "Score every head for nine families (induction, successor, arithmetic ...) on probe "
               "sequences; needs --model");
  app.add_flag("--together", arguments.together,
               "Replace the sites of all checkpoints at once and one at a time: what the language "
               "model loses; needs --model");
  describe(arguments.fields, arguments.options);
  lorsa::tools::add_fields(app, arguments.fields);
  app.add_option("--device", arguments.device, "auto, cpu, cuda or cuda:N")->capture_default_str();
  app.add_option("--threads", arguments.threads, "CPU threads; 0 takes all cores")
      ->transform(lorsa::tools::count_between(0, 4096));
  app.add_flag("--quiet", arguments.quiet, "No progress bar, warnings only");
  app.callback([&arguments] { run_eval(arguments); });
}

}  // namespace

int main(int argc, char** argv) {
  Arguments arguments;
  return lorsa::tools::run_command(
      argc, argv, "lorsa-eval",
      "Judges trained checkpoints on the held-out rows of a cache; with --model also by what the "
      "language model loses. Several are printed side by side.\nExample: lorsa-eval "
      "quickstart/run/final --cache quickstart/cache/layer-17 --model "
      "quickstart/model",
      [&](CLI::App& app) { define(app, arguments); });
}
