#include <cstdlib>

#include "lorsa/collect/extract_config.h"
#include "lorsa/config/fields.h"
#include "lorsa/eval/metrics.h"
#include "lorsa/experiments/sweep_config.h"
#include "lorsa/io/files.h"
#include "lorsa/toy/config.h"
#include "lorsa/train/config.h"
#include "support/test.h"

using namespace lorsa;

namespace {

template <typename Config>
std::string keys_of() {
  Config config;
  config::Fields fields;
  describe(fields, config);
  return config::to_markdown(fields);
}

std::string config_page() {
  return "# Configuration\n\n"
         "Generated from the field descriptions in the code (`LORSA_UPDATE_DOCS=1 "
         "build/bin/test_docs` rewrites it). "
         "Files are YAML, strict: an unknown, duplicate or ill-typed key is refused with file, "
         "line and column. "
         "Counts accept `k`, `M` and `B`, bytes `KiB` to `TiB` and `kB` to `TB`. `--set "
         "section.key=value` overrides "
         "a key on the command line.\n\n"
         "## lorsa-cache extract\n\n" +
         keys_of<collect::ExtractConfig>() + "\n## lorsa-train\n\n" + keys_of<train::RunConfig>() +
         "\n## lorsa-toy\n\n" + keys_of<toy::ToyConfig>() + "\n## lorsa-sweep\n\n" +
         keys_of<experiments::SweepConfig>();
}

std::string metrics_page() {
  return "# Metrics\n\n"
         "What lorsa-eval reports of a dictionary, generated from the metrics' descriptions in the "
         "code (`LORSA_UPDATE_DOCS=1 build/bin/test_docs` rewrites it). The formulas stand in the "
         "docstrings of `include/lorsa/metrics/` and `include/lorsa/eval/`; `src/eval/metrics.cpp` "
         "has the list. Reports, tables and pages name them alike.\n\n" +
         eval::metrics_markdown();
}

void require_page(const std::string& name, const std::string& page) {
  const auto path = test::source_dir() / "docs" / name;
  const char* update = std::getenv("LORSA_UPDATE_DOCS");
  if (update != nullptr && std::string(update) == "1") {
    io::write_file(path, page);
  }
  REQUIRE(io::read_file(path) == page);
}

}  // namespace

TEST_CASE("docs/config.md is what the field descriptions say", "[docs]") {
  require_page("config.md", config_page());
}

TEST_CASE("docs/metrics.md is what the metrics say of themselves", "[docs]") {
  require_page("metrics.md", metrics_page());
}

TEST_CASE("the configurations in configs/ are accepted", "[docs]") {
  const auto folder = test::source_dir() / "configs";
  int num_files = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
    if (entry.is_directory()) {
      continue;
    }
    INFO(entry.path());
    config::Fields fields;
    if (entry.path().parent_path().filename() == "experiments") {
      experiments::SweepConfig config;
      describe(fields, config);
      REQUIRE_NOTHROW(config::load(fields, entry.path(), {}));
    } else if (entry.path().stem().string().ends_with("-cache")) {
      collect::ExtractConfig config;
      describe(fields, config);
      REQUIRE_NOTHROW(config::load(fields, entry.path(), {}));
    } else if (io::read_file(entry.path()).starts_with("# lorsa-toy")) {
      toy::ToyConfig config;
      describe(fields, config);
      REQUIRE_NOTHROW(config::load(fields, entry.path(), {}));
      REQUIRE_NOTHROW(validate(config));
    } else {
      train::RunConfig config;
      describe(fields, config);
      REQUIRE_NOTHROW(config::load(fields, entry.path(), {}));
      REQUIRE_NOTHROW(validate(config));
    }
    ++num_files;
  }
  REQUIRE(num_files >= 8);
}
