// lorsa-eval: judge a checkpoint on the held-out rows of a cache.

#include <iostream>

#include "lorsa/core/log.h"
#include "lorsa/core/stop_signal.h"
#include "lorsa/eval/eval_page.h"
#include "lorsa/eval/evaluate.h"
#include "main.h"

int main(int argc, char** argv) {
  lorsa::eval::EvalOptions options;
  std::vector<std::string> checkpoints;
  std::string out;
  std::string html;
  bool quiet = false;
  return lorsa::tools::run_command(
      argc,
      argv,
      "lorsa-eval",
      "Judges trained checkpoints on the held-out rows of a cache; with --model also by what the "
      "language model loses. Several are printed side by side.\nExample: lorsa-eval "
      "quickstart/run/final --cache quickstart/cache/layer-17 --model "
      "quickstart/model",
      [&](CLI::App& app) {
        app.add_option("CHECKPOINT",
                       checkpoints,
                       "Checkpoint folders (lorsa.json, model.safetensors) of one layer")
            ->required();
        app.add_option("--cache", options.cache, "Activation cache of the same layer")->required();
        app.add_option("--model",
                       options.model,
                       "Hugging Face folder of the language model: adds ce_* and kl");
        app.add_option(
            "--out", out, "Write the report as JSON to this file; of several checkpoints a list");
        app.add_option("--html", html, "Write the report as one page with plots to this file");
        app.add_option("--max-rows", options.max_rows, "Held-out rows to use; 0 takes all")
            ->check(CLI::NonNegativeNumber);
        app.add_option("--pattern-rows",
                       options.pattern_rows,
                       "Held-out rows on which attention patterns are compared with the layer's; "
                       "0: none")
            ->capture_default_str()
            ->check(CLI::NonNegativeNumber);
        app.add_option("--context-lengths",
                       options.context_lengths,
                       "Comma-separated: also fvu on rows of so many tokens, made of held-out ones "
                       "(needs --model)")
            ->delimiter(',')
            ->allow_extra_args(false);
        app.add_option("--batch-sequences", options.batch_sequences, "Rows of one batch")
            ->capture_default_str();
        app.add_option("--device", options.device, "auto, cpu, cuda or cuda:N")
            ->capture_default_str();
        app.add_option("--threads", options.threads, "CPU threads; 0 takes all cores")
            ->check(CLI::NonNegativeNumber);
        app.add_flag("--quiet", quiet, "No progress bar, warnings only");
        app.callback([&] {
          if (quiet) {
            lorsa::set_console_level(lorsa::LogLevel::kWarning);
            options.progress = lorsa::Progress::Visible::kNo;
          }
          const lorsa::StopSignal stop;
          const std::vector<lorsa::eval::EvalReport> reports =
              evaluate_together(options, {checkpoints.begin(), checkpoints.end()});
          lorsa::io::Json json = lorsa::io::Json::array();
          for (const lorsa::eval::EvalReport& report : reports) {
            json.push_back(to_json(report));
          }
          if (!out.empty()) {
            lorsa::io::write_json(out, reports.size() == 1 ? json.front() : json);
          }
          if (!html.empty()) {
            lorsa::eval::write_eval_page(json, html);
          }
          std::cout << to_table(reports);
        });
      });
}
