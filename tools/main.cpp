#include "main.h"

#include <malloc.h>

#include <exception>
#include <iostream>

#include "lorsa/core/error.h"
#include "lorsa/core/log.h"
#include "lorsa/core/version.h"
#include "lorsa/dist/communicator.h"
#include "options.h"
#include "process.h"

namespace lorsa::tools {
namespace {

/// Every batch allocates and frees tensors of the same sizes. By default glibc gives the pages of
/// large ones back each time, and the kernel clears and maps them anew: 8 % of an extraction's
/// processor time, 18 to 22 % of a training step whose tensors have 134 MB (2 cores of an AMD EPYC,
/// November 2026). M_MMAP_THRESHOLD ends at 32 MiB, so nothing is mapped on its own at all.
void keep_freed_memory() {
  static_cast<void>(::mallopt(M_MMAP_MAX, 0));
  static_cast<void>(::mallopt(M_TRIM_THRESHOLD, -1));
}

/// Other ranks of the job would wait for this one until their time-outs: they end too.
int fail(int exit_code) {
  dist::abort_job(exit_code);
  return exit_code;
}

int report(const CLI::App& app, const std::exception& error) {
  log_error("{}{}", is_out_of_memory(error) ? "this machine's memory does not suffice: " : "",
            with_option_names(app, first_line(error.what())));
  return fail(static_cast<int>(exit_code_for(error)));
}

int run(CLI::App& app, int argc, char** argv, const std::function<void(CLI::App&)>& define) {
  app.set_version_flag("--version", app.get_name() + " " + version() + " (" + git_revision() + ")");
  define(app);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) {
      app.exit(error, std::cout, std::cerr);
    } else {
      log_error("{}", usage_message(app, error));
      return static_cast<int>(ExitCode::kConfig);
    }
  }
  finish_output();
  return static_cast<int>(ExitCode::kDone);
}

}  // namespace

int run_command(int argc,
                char** argv,
                const std::string& name,
                const std::string& description,
                const std::function<void(CLI::App&)>& define) {
  secure_process();
  keep_freed_memory();
  CLI::App app(description, name);
  try {
    return run(app, argc, argv, define);
  } catch (const std::exception& error) {
    return report(app, error);
  } catch (...) {
    log_error("internal error: an exception of unknown type");
    return fail(static_cast<int>(ExitCode::kInternal));
  }
}

void add_config_arguments(CLI::App& app, ConfigArguments& arguments, const std::string& keys) {
  app.add_option("CONFIG.yaml", arguments.path, "Configuration file (keys below)")
      ->required()
      ->check(filled("a configuration file"));
  app.add_option("--set", arguments.overrides,
                 "Override one key: --set section.key=value; may be repeated, later ones win")
      ->type_name("KEY=VALUE")
      ->allow_extra_args(false);
  app.add_flag("--quiet", arguments.quiet, "No progress bar, warnings only");
  app.footer(keys);
}

}  // namespace lorsa::tools
