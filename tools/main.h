#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <string>
#include <vector>

#include "lorsa/config/fields.h"
#include "lorsa/core/log.h"
#include "lorsa/core/progress.h"

namespace lorsa::tools {

/// The shared body of every command's main(): lets `define` add options, subcommands and callbacks
/// to an app, parses, runs the callbacks and returns the exit code (docs/runs.md).
///
/// Everything is caught. A failure is one line on standard error; a wrong command line is exit code
/// 2 that says what is missing or wrong and where help is; `--help` and `--version` print to
/// standard output and give 0. Results that cannot be written to standard output are an IoError.
/// Callbacks report failure by throwing.
int run_command(int argc,
                char** argv,
                const std::string& name,
                const std::string& description,
                const std::function<void(CLI::App&)>& define);

/// The usual options of a command that reads a configuration file.
struct ConfigArguments {
  std::string path;
  std::vector<std::string> overrides;  ///< of --set, "key=value" in order
  bool quiet = false;

  [[nodiscard]] Progress::Visible progress() const {
    return quiet ? Progress::Visible::kNo : Progress::Visible::kYes;
  }
};

/// Adds CONFIG.yaml, --set and --quiet to `app`, and `keys` (what config::help_text() says) behind
/// its options. `arguments` must outlive the app.
void add_config_arguments(CLI::App& app, ConfigArguments& arguments, const std::string& keys);

/// The configuration that `arguments` name, read strictly; with --quiet the console is told
/// warnings only from here on.
template <typename Config>
Config load_config(const ConfigArguments& arguments) {
  Config config;
  config::Fields fields;
  describe(fields, config);
  config::load(fields, arguments.path, arguments.overrides);
  if (arguments.quiet) {
    set_console_level(LogLevel::kWarning);
  }
  return config;
}

/// What `--help` says of a configuration's keys.
template <typename Config>
std::string config_keys() {
  Config config;
  config::Fields fields;
  describe(fields, config);
  return config::help_text(fields);
}

}  // namespace lorsa::tools
