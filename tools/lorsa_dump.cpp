// lorsa-dump: what each head of a checkpoint does, as data and as a page to browse.

#include <iostream>

#include "lorsa/analysis/dump.h"
#include "lorsa/analysis/families.h"
#include "lorsa/core/log.h"
#include "lorsa/core/recycled_memory.h"
#include "lorsa/core/stop_signal.h"
#include "main.h"
#include "options.h"

namespace {

using lorsa::analysis::DumpOptions;

struct Arguments {
  DumpOptions options;
  bool families = false;
  bool restart = false;
  bool quiet = false;
};

void run_dump(Arguments& arguments) {
  if (arguments.quiet) {
    lorsa::set_console_level(lorsa::LogLevel::kWarning);
    arguments.options.progress = lorsa::Progress::Visible::kNo;
  }
  if (arguments.restart) {
    arguments.options.unfinished = DumpOptions::Unfinished::kDiscard;
  }
  const lorsa::StopSignal stop;
  if (arguments.families) {
    lorsa::analysis::FamilyOptions families;
    families.checkpoint = arguments.options.checkpoint;
    families.cache = arguments.options.cache;
    families.model = arguments.options.model;
    families.device = arguments.options.device;
    families.progress = arguments.options.progress;
    families.pattern_rows = 0;
    arguments.options.family_scores = head_families(families).by_head();
  }
  // A batch's tensors are freed by another thread than made them: on the heap, 51,200 tokens of the
  // quickstart took 850 MiB and growing.
  lorsa::recycle_large_tensors();
  std::cout << report_text(lorsa::analysis::dump_heads(arguments.options));
}

void define(CLI::App& app, Arguments& arguments) {
  DumpOptions& o = arguments.options;
  app.add_option("CHECKPOINT", o.checkpoint, "Checkpoint folder, such as quickstart/run/final")
      ->required()
      ->check(lorsa::tools::filled("a folder"));
  app.add_option("--cache", o.cache, "Activation cache of the same layer")
      ->type_name("DIR")
      ->required()
      ->check(lorsa::tools::filled("a folder"));
  app.add_option("--model", o.model, "The language model's folder")
      ->type_name("DIR")
      ->required()
      ->check(lorsa::tools::filled("a folder"));
  app.add_option("--out", o.out, "Where the dump goes; an older dump there is replaced")
      ->type_name("DIR")
      ->required()
      ->check(lorsa::tools::filled("a folder"));
  app.add_option("--contexts", o.num_contexts, "Strongest contexts kept of each head")
      ->type_name("N")
      ->capture_default_str()
      ->transform(lorsa::tools::count_from(1));
  app.add_option("--quantile-contexts", o.num_quantiles,
                 "Contexts of each head drawn from as many equally probable strata of its "
                 "activations")
      ->type_name("N")
      ->capture_default_str()
      ->transform(lorsa::tools::count_from(0));
  app.add_option("--non-firing-contexts", o.num_non_firing,
                 "Windows drawn for each head in which it does not act")
      ->type_name("N")
      ->capture_default_str()
      ->transform(lorsa::tools::count_from(0));
  app.add_option("--seed", o.seed, "Of what is drawn")
      ->type_name("N")
      ->capture_default_str()
      ->transform(lorsa::tools::count_from(0));
  app.add_option("--window", o.window_tokens, "Tokens of a context")
      ->type_name("N")
      ->capture_default_str()
      ->transform(lorsa::tools::count_from(1));
  app.add_option("--max-rows", o.max_rows, "Read only N rows, spread over the cache; 0: all")
      ->type_name("N")
      ->capture_default_str()
      ->transform(lorsa::tools::count_from(0));
  app.add_flag("--families", arguments.families,
               "Score every head for nine families (induction, successor, arithmetic ...) first: "
               "runs the language model's blocks up to the layer on 25,000 tokens");
  app.add_option("--device", o.device, "auto, cpu, cuda or cuda:N")
      ->type_name("D")
      ->capture_default_str();
  app.add_option("--delphi", o.delphi,
                 "Export all activations too, in the layout of delphi's latent cache")
      ->type_name("DIR")
      ->check(lorsa::tools::filled("a folder"));
  app.add_option("--delphi-splits", o.num_delphi_splits, "Files of that export")
      ->type_name("N")
      ->capture_default_str()
      ->transform(lorsa::tools::count_from(1));
  app.add_option("--save-every", o.save_every_s, "Seconds of work that a kill loses at most")
      ->type_name("S")
      ->capture_default_str()
      ->check(lorsa::tools::number_from(0.0));
  app.add_flag("--restart", arguments.restart, "Discard what an interrupted dump has saved");
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
