// lorsa-sweep: train and measure over a grid of settings.

#include <iostream>

#include "lorsa/core/stop_signal.h"
#include "lorsa/experiments/sweep.h"
#include "main.h"

namespace {

struct Arguments {
  lorsa::tools::ConfigArguments config;
  bool dry_run = false;
};

void run_sweep(const Arguments& arguments) {
  const auto config = lorsa::tools::load_config<lorsa::experiments::SweepConfig>(arguments.config);
  if (arguments.dry_run) {
    std::cout << lorsa::experiments::describe_sweep(config);
    return;
  }
  const lorsa::StopSignal stop;
  const lorsa::experiments::SweepSummary summary =
      lorsa::experiments::sweep(config, arguments.config.progress());
  std::cout << summary.table << '\n'
            << summary.num_runs << " runs, " << summary.num_done_before
            << " of them done before\npage: " << summary.page.string() << '\n';
}

}  // namespace

int main(int argc, char** argv) {
  Arguments arguments;
  return lorsa::tools::run_command(
      argc, argv, "lorsa-sweep",
      "Trains over a grid of settings and measures all runs alike: a table, a page and what stands "
      "behind them. An interrupted sweep goes on when the same command is run again; several "
      "processes that run it share the work.\nExample: lorsa-sweep sweep.yaml --set "
      "'sweep.axes=[\"model.top_k=[16, 32]\", \"run.seed=[0, 1, 2]\"]' --dry-run",
      [&](CLI::App& app) {
        lorsa::tools::add_config_arguments(
            app, arguments.config, lorsa::tools::config_keys<lorsa::experiments::SweepConfig>());
        app.add_flag("--dry-run", arguments.dry_run,
                     "Print the runs, what trains together and what is done; write nothing");
        app.callback([&] { run_sweep(arguments); });
      });
}
