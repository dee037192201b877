// lorsa-dump: what each head of a checkpoint does, as data and as a page to browse.

#include <iostream>

#include "lorsa/analysis/dump.h"
#include "lorsa/core/log.h"
#include "lorsa/core/stop_signal.h"
#include "main.h"

namespace {

struct Arguments {
  lorsa::analysis::DumpOptions options;
  bool quiet = false;
};

void run_dump(Arguments& arguments) {
  if (arguments.quiet) {
    lorsa::set_console_level(lorsa::LogLevel::kWarning);
    arguments.options.progress = lorsa::Progress::Visible::kNo;
  }
  const lorsa::StopSignal stop;
  std::cout << report_text(lorsa::analysis::dump_heads(arguments.options));
}

void define(CLI::App& app, Arguments& arguments) {
  lorsa::analysis::DumpOptions& o = arguments.options;
  app.add_option("CHECKPOINT", o.checkpoint, "Checkpoint folder, such as quickstart/run/final")
      ->required();
  app.add_option("--cache", o.cache, "Activation cache of the same layer")
      ->type_name("DIR")
      ->required();
  app.add_option("--model", o.model, "The language model's folder")->type_name("DIR")->required();
  app.add_option("--out", o.out, "Where the dump goes; an older dump there is replaced")
      ->type_name("DIR")
      ->required();
  app.add_option("--contexts", o.num_contexts, "Strongest contexts kept of each head")
      ->type_name("N")
      ->capture_default_str();
  app.add_option("--window", o.window_tokens, "Tokens of a context")
      ->type_name("N")
      ->capture_default_str();
  app.add_option("--max-rows", o.max_rows, "Read only N rows, spread over the cache; 0: all")
      ->type_name("N")
      ->capture_default_str();
  app.add_option("--device", o.device, "auto, cpu, cuda or cuda:N")
      ->type_name("D")
      ->capture_default_str();
  app.add_flag("--quiet", arguments.quiet, "No progress bar, warnings only");
  app.footer(
      "Example:\n"
      "  lorsa-dump quickstart/run/final --cache quickstart/cache/layer-17 --model "
      "quickstart/model --out quickstart/dump\n"
      "Then open quickstart/dump/explorer/index.html in a browser.\n");
  app.callback([&arguments] { run_dump(arguments); });
}

}  // namespace

int main(int argc, char** argv) {
  Arguments arguments;
  return lorsa::tools::run_command(argc,
                                   argv,
                                   "lorsa-dump",
                                   "Writes what each head of a Lorsa does: rate, strongest "
                                   "contexts with their sources, effect on the logits.",
                                   [&](CLI::App& app) { define(app, arguments); });
}
