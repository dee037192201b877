// lorsa-toy: train a small target model with planted rules.

#include <iostream>

#include "lorsa/core/stop_signal.h"
#include "lorsa/toy/make_toy.h"
#include "main.h"

namespace {

void run_toy(const lorsa::tools::ConfigArguments& arguments) {
  const auto config = lorsa::tools::load_config<lorsa::toy::ToyConfig>(arguments);
  const lorsa::StopSignal stop;
  const lorsa::toy::ToySummary summary = lorsa::toy::make_toy(config, arguments.progress());
  std::cout << (summary.already_done ? "already made: " : "made: ") << summary.folder.string()
            << ", " << summary.num_parameters << " parameters, held-out loss " << summary.loss
            << ", accuracy " << summary.accuracy << ", trained in "
            << lorsa::format_duration(summary.seconds) << '\n'
            << "corpus: " << (summary.folder / "corpus.npy").string()
            << "\ntruth: " << (summary.folder / "truth.json").string() << '\n';
}

}  // namespace

int main(int argc, char** argv) {
  lorsa::tools::ConfigArguments arguments;
  return lorsa::tools::run_command(
      argc, argv, "lorsa-toy",
      "Trains a small target model whose attention follows planted rules, and writes it as a "
      "Hugging Face folder with a corpus and truth.json: where every rule applies.\nExample: "
      "lorsa-toy configs/toy-superposition.yaml && lorsa-cache extract "
      "configs/toy-superposition-cache.yaml",
      [&](CLI::App& app) {
        lorsa::tools::add_config_arguments(app, arguments,
                                           lorsa::tools::config_keys<lorsa::toy::ToyConfig>());
        app.callback([&] { run_toy(arguments); });
      });
}
