// lorsa-eval: judge a checkpoint on the held-out rows of a cache.

#include <iostream>

#include "lorsa/core/log.h"
#include "lorsa/core/stop_signal.h"
#include "lorsa/eval/evaluate.h"
#include "main.h"

int main(int argc, char** argv) {
  lorsa::eval::EvalOptions options;
  std::string out;
  bool quiet = false;
  return lorsa::tools::run_command(
      argc,
      argv,
      "lorsa-eval",
      "Judges a trained checkpoint on the held-out rows of a cache; with --model also by what the "
      "language model "
      "loses.\nExample: lorsa-eval quickstart/run/final --cache quickstart/cache/layer-17 --model "
      "quickstart/model",
      [&](CLI::App& app) {
        app.add_option("CHECKPOINT",
                       options.checkpoint,
                       "Checkpoint folder (lorsa.json, model.safetensors)")
            ->required();
        app.add_option("--cache", options.cache, "Activation cache of the same layer")->required();
        app.add_option("--model",
                       options.model,
                       "Hugging Face folder of the language model: adds ce_* and kl");
        app.add_option("--out", out, "Write the report as JSON to this file");
        app.add_option("--max-rows", options.max_rows, "Held-out rows to use; 0 takes all")
            ->check(CLI::NonNegativeNumber);
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
          const lorsa::eval::EvalReport report = lorsa::eval::evaluate(options);
          if (!out.empty()) {
            lorsa::io::write_json(out, to_json(report));
          }
          std::cout << to_table(report);
        });
      });
}
