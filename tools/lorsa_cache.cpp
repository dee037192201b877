// lorsa-cache: extract activations of a language model, describe caches, check them.

#include <iostream>
#include <optional>

#include "lorsa/collect/cache_report.h"
#include "lorsa/collect/extract.h"
#include "lorsa/core/error.h"
#include "lorsa/core/launch.h"
#include "lorsa/core/log.h"
#include "lorsa/core/stop_signal.h"
#include "lorsa/data/cache_reader.h"
#include "main.h"
#include "options.h"

namespace {

using lorsa::Progress;

struct Arguments {
  lorsa::tools::ConfigArguments config;
  std::string folder;
  bool dry_run = false;
  bool json = false;
};

void run_extract(const Arguments& arguments) {
  const auto config = lorsa::tools::load_config<lorsa::collect::ExtractConfig>(arguments.config);
  if (arguments.dry_run) {
    std::cout << plan_text(lorsa::collect::plan_extraction(config));
    return;
  }
  const lorsa::LaunchRank rank = lorsa::launch_rank();
  const bool speaks = rank.rank == 0;
  if (!speaks) {
    lorsa::set_console_level(lorsa::LogLevel::kWarning);
  }
  const lorsa::StopSignal stop;
  const auto report = lorsa::collect::extract(
      config, {speaks ? arguments.config.progress() : Progress::Visible::kNo, {}, rank});
  std::cout << (speaks ? report_text(report) : "");
}

void run_info(const Arguments& arguments) {
  lorsa::io::Json all = lorsa::io::Json::array();
  for (const auto& folder : lorsa::collect::cache_folders(arguments.folder)) {
    const lorsa::data::Manifest manifest = lorsa::data::read_manifest(folder);
    if (arguments.json) {
      all.push_back(lorsa::collect::cache_json(folder, manifest));
    } else {
      std::cout << lorsa::collect::cache_text(folder, manifest);
    }
  }
  if (arguments.json) {
    std::cout << all.dump(2) << '\n';
  }
}

void run_verify(const Arguments& arguments) {
  size_t num_defects = 0;
  for (const auto& folder : lorsa::collect::cache_folders(arguments.folder)) {
    std::optional<Progress> progress;
    const auto defects = lorsa::data::verify_cache(folder, [&](int64_t done, int64_t total) {
      if (!progress) {
        progress.emplace("verify", total, "bytes", 0, arguments.config.progress());
      }
      progress->update(done);
    });
    if (progress) {
      progress->finish();
    }
    for (const lorsa::data::Defect& defect : defects) {
      std::cout << (folder / defect.file).string()
                << (defect.row >= 0 ? lorsa::formatted(": row {}", defect.row) : "") << ": "
                << defect.message << '\n';
    }
    if (defects.empty()) {
      std::cout << folder.string() << ": sound, " << lorsa::data::read_manifest(folder).num_rows
                << " rows\n";
    }
    num_defects += defects.size();
  }
  LORSA_CHECK(num_defects == 0, FormatError,
              "{}: {}{}; remove the layer's folder and extract it again", arguments.folder,
              num_defects, num_defects == 1 ? " defect" : " defects");
}

void define(CLI::App& app, Arguments& arguments) {
  app.require_subcommand(1);
  app.footer(
      "Examples:\n"
      "  lorsa-cache extract configs/smollm2-cache.yaml --dry-run\n"
      "  lorsa-cache extract configs/smollm2-cache.yaml --set data.max_tokens=1M\n"
      "  lorsa-cache info quickstart/cache\n"
      "  lorsa-cache verify quickstart/cache/layer-17\n");

  CLI::App* extract = app.add_subcommand(
      "extract",
      "Write the activation caches of a configuration; continues an unfinished extraction");
  lorsa::tools::add_config_arguments(*extract, arguments.config,
                                     lorsa::tools::config_keys<lorsa::collect::ExtractConfig>());
  extract->add_flag("--dry-run", arguments.dry_run,
                    "Print rows, tokens, bytes, free space and time; write nothing");
  extract->callback([&arguments] { run_extract(arguments); });

  CLI::App* info = app.add_subcommand("info", "Say what a cache holds");
  info->add_option("DIR", arguments.folder, "A folder layer-N, or one that holds several")
      ->required()
      ->check(lorsa::tools::filled("a folder"));
  info->add_flag("--json", arguments.json, "Print a JSON list instead");
  info->callback([&arguments] { run_info(arguments); });

  CLI::App* verify =
      app.add_subcommand("verify", "Read every byte of a cache against its checksums");
  verify->add_option("DIR", arguments.folder, "A folder layer-N, or one that holds several")
      ->required()
      ->check(lorsa::tools::filled("a folder"));
  verify->add_flag("--quiet", arguments.config.quiet, "No progress bar");
  verify->callback([&arguments] { run_verify(arguments); });
}

}  // namespace

int main(int argc, char** argv) {
  Arguments arguments;
  return lorsa::tools::run_command(argc, argv, "lorsa-cache",
                                   "Caches what attention layers and MLPs of a language model read "
                                   "and write, for training on it.",
                                   [&](CLI::App& app) { define(app, arguments); });
}
