// lorsa-eval: judge a checkpoint on the held-out rows of a cache.

#include <algorithm>
#include <iostream>

#include "lorsa/analysis/families.h"
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
  std::vector<std::string> checkpoints;
  std::string out;
  std::string html;
  bool families = false;
  bool together = false;
  bool quiet = false;
};

/// Whether a LIST of heads, or the file that it names, names families: their heads are known once
/// all are scored.
bool names_families(const std::string& option) {
  const bool is_file = option.starts_with('@') && std::filesystem::exists(option.substr(1));
  const std::string list = is_file ? lorsa::io::read_text(option.substr(1)) : option;
  const std::vector<std::string>& names = lorsa::analysis::family_names();
  return std::any_of(names.begin(), names.end(),
                     [&](const std::string& name) { return list.find(name) != std::string::npos; });
}

lorsa::analysis::FamilyReport score_heads(const Arguments& arguments,
                                          const std::string& checkpoint) {
  LORSA_CHECK(!arguments.options.model.empty(), ConfigError,
              "--families and names of families in --ablate-heads need --model");
  lorsa::analysis::FamilyOptions options;
  options.checkpoint = checkpoint;
  options.cache = arguments.options.cache;
  options.model = arguments.options.model;
  options.device = arguments.options.device;
  options.progress = arguments.options.progress;
  return lorsa::analysis::head_families(options);
}

/// Checkpoints of several sites in their places at once.
void run_together(const Arguments& arguments) {
  const lorsa::eval::EvalOptions& options = arguments.options;
  const lorsa::eval::InterventionOptions& edits = options.interventions;
  LORSA_CHECK(arguments.html.empty() && !arguments.families && options.context_lengths.empty() &&
                  !edits.ablate_heads && edits.steer.empty() && edits.prompts.empty() &&
                  edits.prompts_file.empty() && !edits.random_control,
              ConfigError,
              "--together: leave out --html, --families, --context-lengths, --ablate-heads, "
              "--steer, --random-control, --prompt and --prompts: they are for one site");
  const lorsa::eval::TogetherReport report = evaluate_replaced_together(
      options, {arguments.checkpoints.begin(), arguments.checkpoints.end()});
  std::cout << to_table(report) << std::flush;
  if (!arguments.out.empty()) {
    lorsa::io::write_json(arguments.out, to_json(report));
  }
}

void run_eval(Arguments& arguments) {
  lorsa::eval::EvalOptions& options = arguments.options;
  if (arguments.quiet) {
    lorsa::set_console_level(lorsa::LogLevel::kWarning);
    options.progress = lorsa::Progress::Visible::kNo;
  }
  lorsa::eval::InterventionOptions& edits = options.interventions;
  for (const std::string& file : {arguments.out, arguments.html}) {
    if (!file.empty()) {
      lorsa::io::check_can_write(file);
    }
  }
  const lorsa::StopSignal stop;
  if (arguments.together) {
    run_together(arguments);
    return;
  }
  for (const std::string& name : lorsa::analysis::family_names()) {
    edits.named_heads[name];  // known to the list's reader
  }
  std::vector<lorsa::io::Json> families;
  std::string tables;
  if (arguments.families || names_families(edits.ablate_heads.value_or(""))) {
    for (const std::string& checkpoint : arguments.checkpoints) {
      const lorsa::analysis::FamilyReport report = score_heads(arguments, checkpoint);
      edits.named_heads = report.named_heads();
      families.push_back(to_json(report));
      tables += to_table(report);
    }
  }
  const std::vector<lorsa::eval::EvalReport> reports =
      evaluate_together(options, {arguments.checkpoints.begin(), arguments.checkpoints.end()});
  lorsa::io::Json json = lorsa::io::Json::array();
  for (const lorsa::eval::EvalReport& report : reports) {
    json.push_back(to_json(report));
    if (!families.empty()) {
      json.back().update(families[json.size() - 1]);
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

void define_interventions(CLI::App& app, lorsa::eval::InterventionOptions& edits) {
  app.add_option("--ablate-heads", edits.ablate_heads,
                 "What the language model loses without these heads (3,17,40-60, a family such as "
                 "induction, or @FILE), on held-out rows and on repeated random tokens");
  app.add_option("--steer", edits.steer,
                 "HEAD=VALUE: the same with a head's activation set to a value; repeatable")
      ->allow_extra_args(false);
  app.add_flag("--random-control", edits.random_control,
               "Compare the ablated heads with five draws of as many other acting ones");
  app.add_option("--prompt", edits.prompts,
                 "Loss on this text and next tokens, before and after; repeatable")
      ->allow_extra_args(false);
  app.add_option("--prompts", edits.prompts_file,
                 "A text file with one prompt a line; blanks at the end of a line are left out")
      ->check(lorsa::tools::filled("a file"));
  app.add_option("--prompt-tokens", edits.prompt_tokens, "Tokens listed of a prompt")
      ->capture_default_str()
      ->transform(lorsa::tools::count_from(1));
}

void define(CLI::App& app, Arguments& arguments) {
  lorsa::eval::EvalOptions& options = arguments.options;
  app.add_option("CHECKPOINT", arguments.checkpoints,
                 "Checkpoint folders (lorsa.json, model.safetensors) of one site; with --together "
                 "of several")
      ->required()
      ->check(lorsa::tools::filled("a folder"));
  app.add_option("--cache", options.cache,
                 "Activation cache of the same site; with --together of any site of the model")
      ->required()
      ->check(lorsa::tools::filled("a folder"));
  app.add_option("--model", options.model,
                 "Hugging Face folder of the language model: adds ce_* and kl")
      ->check(lorsa::tools::filled("a folder"));
  app.add_option("--out", arguments.out,
                 "Write the report as JSON to this file; of several checkpoints a list")
      ->check(lorsa::tools::filled("a file"));
  app.add_option("--html", arguments.html, "Write the report as one page with plots to this file")
      ->check(lorsa::tools::filled("a file"));
  app.add_flag("--families", arguments.families,
               "Score every head for nine families (induction, successor, arithmetic ...) on probe "
               "sequences; needs --model");
  app.add_flag("--together", arguments.together,
               "Replace the sites of all checkpoints at once and one at a time: what the language "
               "model loses; needs --model");
  define_interventions(app, options.interventions);
  app.add_option("--max-rows", options.max_rows, "Held-out rows to use; 0 takes all")
      ->transform(lorsa::tools::count_from(0));
  app.add_option("--pattern-rows", options.pattern_rows,
                 "Held-out rows on which attention patterns are compared with the layer's; 0: none")
      ->capture_default_str()
      ->transform(lorsa::tools::count_from(0));
  app.add_option(
         "--context-lengths", options.context_lengths,
         "Comma-separated: also fvu on rows of so many tokens, made of held-out ones (needs "
         "--model)")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->transform(lorsa::tools::count_from(2));
  app.add_option("--batch-sequences", options.batch_sequences, "Rows of one batch")
      ->capture_default_str()
      ->transform(lorsa::tools::count_from(1));
  app.add_option("--device", options.device, "auto, cpu, cuda or cuda:N")->capture_default_str();
  app.add_option("--threads", options.threads, "CPU threads; 0 takes all cores")
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
