// lorsa-train: train a dictionary on one site's activation cache.

#include <iostream>

#include "lorsa/core/launch.h"
#include "lorsa/core/stop_signal.h"
#include "lorsa/train/run.h"
#include "main.h"

namespace {

struct Arguments {
  lorsa::tools::ConfigArguments config;
  bool dry_run = false;
};

void run_train(const Arguments& arguments) {
  const auto config = lorsa::tools::load_config<lorsa::train::RunConfig>(arguments.config);
  if (arguments.dry_run) {
    std::cout << lorsa::train::describe_plan(config);
    return;
  }
  const lorsa::StopSignal stop;
  const lorsa::train::TrainSummary summary =
      lorsa::train::train(config, arguments.config.progress());
  if (lorsa::launch_rank().rank != 0) {
    return;
  }
  std::cout << (summary.already_done ? "already trained: " : "trained: ") << summary.tokens
            << " tokens in " << lorsa::format_duration(summary.seconds) << " ("
            << lorsa::format_si(summary.tokens_per_s) << " tokens/s)\n";
  for (const std::filesystem::path& checkpoint : summary.final_checkpoints) {
    std::cout << "checkpoint: " << checkpoint.string() << '\n';
  }
}

}  // namespace

int main(int argc, char** argv) {
  Arguments arguments;
  return lorsa::tools::run_command(
      argc, argv, "lorsa-train",
      "Trains Low-Rank Sparse Attention, an SAE or a transcoder on the activation cache of a site. "
      "An interrupted run is resumed by the same command.\nExample: lorsa-train "
      "configs/smollm2-train.yaml --set train.tokens=1M",
      [&](CLI::App& app) {
        lorsa::tools::add_config_arguments(app, arguments.config,
                                           lorsa::tools::config_keys<lorsa::train::RunConfig>());
        app.add_flag("--dry-run", arguments.dry_run,
                     "Print parameters, memory, FLOPs a token and steps; write nothing");
        app.callback([&] { run_train(arguments); });
      });
}
