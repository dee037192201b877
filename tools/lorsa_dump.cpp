// lorsa-dump: what each head of a checkpoint does, as data and as a page to browse.

#include <iostream>

#include "lorsa/analysis/dump.h"
#include "lorsa/core/log.h"
#include "lorsa/core/recycled_memory.h"
#include "lorsa/core/stop_signal.h"
#include "main.h"
#include "options.h"

namespace {

struct Arguments {
  lorsa::analysis::DumpOptions options;
  lorsa::config::Fields fields;
  bool quiet = false;
};

void run_dump(Arguments& arguments) {
  if (arguments.quiet) {
    lorsa::set_console_level(lorsa::LogLevel::kWarning);
    arguments.options.progress = lorsa::Progress::Visible::kNo;
  }
  const lorsa::StopSignal stop;
  // A batch's tensors are freed by another thread than made them: on the heap, 51,200 tokens of the
  // quickstart took 850 MiB and growing.
  lorsa::recycle_large_tensors();
  std::cout << report_text(lorsa::analysis::dump_heads(arguments.options));
}

void define(CLI::App& app, Arguments& arguments) {
  app.add_option("CHECKPOINT", arguments.options.checkpoint,
                 "Checkpoint folder, such as quickstart/run/final")
      ->required()
      ->check(lorsa::tools::filled("a folder"));
  describe(arguments.fields, arguments.options);
  lorsa::tools::add_fields(app, arguments.fields);
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
  return lorsa::tools::run_command(argc, argv, "lorsa-dump",
                                   "Writes what each head or feature does: rate, strongest "
                                   "contexts with their sources, effect on the logits.",
                                   [&](CLI::App& app) { define(app, arguments); });
}
