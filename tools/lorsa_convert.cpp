// lorsa-convert: checkpoints of other projects to ours and back.

#include <iostream>
#include <map>

#include "lorsa/eval/convert.h"
#include "main.h"
#include "options.h"

namespace {

using lorsa::eval::ConvertOptions;
using lorsa::model::CheckpointKind;
using lorsa::model::ReadAs;

const std::map<std::string, std::optional<CheckpointKind>> kKinds = {
    {"auto", std::nullopt},
    {"lorsa", CheckpointKind::kOwn},
    {"llamascopium", CheckpointKind::kLlamascopium},
    {"original", CheckpointKind::kOriginal}};
const std::map<std::string, ReadAs> kReadings = {
    {"stated", ReadAs::kStated}, {"scaled", ReadAs::kScaled}, {"folded", ReadAs::kFolded}};

struct Arguments {
  ConvertOptions options;
  std::string from = "auto";
  std::string to = "auto";
  std::string normalization = "stated";
  bool force = false;
  bool dry_run = false;
  bool quiet = false;
};

void run_convert(Arguments& arguments) {
  ConvertOptions& o = arguments.options;
  o.from = kKinds.at(arguments.from);
  o.to = kKinds.at(arguments.to);
  o.read_as = kReadings.at(arguments.normalization);
  if (arguments.force) {
    o.existing = ConvertOptions::Existing::kReplace;
  }
  if (arguments.dry_run) {
    o.write = ConvertOptions::Write::kNo;
  }
  const lorsa::eval::ConvertReport report = lorsa::eval::convert(o);
  if (!arguments.quiet) {
    std::cout << report_text(report);
  }
}

void define(CLI::App& app, Arguments& arguments) {
  ConvertOptions& o = arguments.options;
  app.add_option("INPUT", o.input, "Checkpoint folder of any kind; with --from-mhsa a model's")
      ->type_name("DIR")
      ->required()
      ->check(lorsa::tools::filled("a folder"));
  app.add_option("OUTPUT", o.output, "The new folder")
      ->type_name("DIR")
      ->required()
      ->check(lorsa::tools::filled("a folder"));
  app.add_option("--from", arguments.from,
                 "What INPUT is: auto (by its files), lorsa, llamascopium, or original (final.pth)")
      ->type_name("KIND")
      ->check(lorsa::tools::one_of({"auto", "lorsa", "llamascopium", "original"}))
      ->capture_default_str();
  app.add_option(
         "--from-mhsa", o.mhsa_layer,
         "INPUT is a language model's folder: write the Lorsa that is the attention of this "
         "layer, with every direction of every head as an OV head and all of them kept")
      ->type_name("LAYER")
      ->transform(lorsa::tools::count_between(0, 9999));
  app.add_option(
         "--to", arguments.to,
         "What to write: lorsa, llamascopium, or auto (lorsa for others' checkpoints and layers, "
         "llamascopium for lorsa's)")
      ->type_name("KIND")
      ->check(lorsa::tools::one_of({"auto", "lorsa", "llamascopium"}))
      ->capture_default_str();
  app.add_option("--normalization", arguments.normalization,
                 "Read others' weights as scaled or folded ones, whatever the files state")
      ->type_name("WORD")
      ->check(lorsa::tools::one_of({"stated", "scaled", "folded"}))
      ->capture_default_str();
  app.add_option("--cache", o.cache,
                 "Activation cache of the layer: judges both normalizations, and tells the new "
                 "checkpoint its language model")
      ->type_name("DIR")
      ->check(lorsa::tools::filled("a folder"));
  app.add_option(
         "--n-ctx", o.n_ctx,
         "Longest context of a llamascopium checkpoint (as INPUT says, else 2048); its file "
         "holds a mask of N x N bytes: 4 MiB at 2048, 1 GiB at 32768, 16 GiB at 131072")
      ->type_name("N")
      ->transform(lorsa::tools::count_between(1, (int64_t{1} << 31) - 1));
  app.add_flag("--force", arguments.force, "Replace OUTPUT where it holds a checkpoint");
  app.add_flag("--dry-run", arguments.dry_run, "Read, check and report; write nothing");
  app.add_flag("--quiet", arguments.quiet, "No report; warnings only");
  app.footer(
      "Examples:\n"
      "  lorsa-convert downloads/layer17_lorsa imported --cache quickstart/cache/layer-17\n"
      "  lorsa-convert quickstart/run/final exported --to llamascopium\n"
      "  lorsa-convert quickstart/model exact --from-mhsa 17\n"
      "docs/formats.md says what becomes of every field.\n");
  app.callback([&arguments] { run_convert(arguments); });
}

}  // namespace

int main(int argc, char** argv) {
  Arguments arguments;
  return lorsa::tools::run_command(argc, argv, "lorsa-convert",
                                   "Reads a Lorsa of this project, of llamascopium or of the "
                                   "original repository and writes it for this project or for "
                                   "llamascopium.",
                                   [&](CLI::App& app) { define(app, arguments); });
}
