// lorsa-convert: checkpoints of other projects to ours and back.

#include <iostream>

#include "lorsa/eval/convert.h"
#include "main.h"
#include "options.h"

namespace {

struct Arguments {
  lorsa::eval::ConvertOptions options;
  lorsa::config::Fields fields;
  bool quiet = false;
};

void run_convert(const CLI::App& app, const Arguments& arguments) {
  const lorsa::eval::ConvertReport report = lorsa::eval::convert(arguments.options);
  for (const std::string& warning : report.warnings) {
    lorsa::log_warning("{}", lorsa::tools::with_option_names(app, warning));
  }
  if (!arguments.quiet) {
    std::cout << report_text(report);
  }
}

void define(CLI::App& app, Arguments& arguments) {
  app.add_option("INPUT", arguments.options.input,
                 "Checkpoint folder of any kind; with --from-mhsa a model's")
      ->type_name("DIR")
      ->required()
      ->check(lorsa::tools::filled("a folder"));
  app.add_option("OUTPUT", arguments.options.output, "The new folder")
      ->type_name("DIR")
      ->required()
      ->check(lorsa::tools::filled("a folder"));
  describe(arguments.fields, arguments.options);
  lorsa::tools::add_fields(app, arguments.fields);
  app.add_flag("--quiet", arguments.quiet, "No report; warnings only");
  app.footer(
      "Examples:\n"
      "  lorsa-convert downloads/layer17_lorsa imported --cache quickstart/cache/layer-17\n"
      "  lorsa-convert quickstart/run/final exported --to llamascopium\n"
      "  lorsa-convert quickstart/model exact --from-mhsa 17\n"
      "docs/formats.md says what becomes of every field.\n");
  app.callback([&app, &arguments] { run_convert(app, arguments); });
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
