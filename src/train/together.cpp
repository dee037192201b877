#include <set>

#include "lorsa/core/error.h"
#include "lorsa/train/run.h"
#include "train/run_folder.h"
#include "train/start.h"

namespace lorsa::train {
namespace {

const std::set<std::string> kShared = {"run.device", "run.precision", "run.threads",
                                       "run.rank_timeout_s", "train.tokens"};

bool is_shared(const std::string& key) {
  return kShared.contains(key) || key.starts_with("data.") || key.starts_with("checkpoint.") ||
         key.starts_with("log.");
}

}  // namespace

std::map<std::string, std::string> shared_settings(const RunConfig& config) {
  RunConfig resolved = config;
  resolved.data.seed = config.data.seed >= 0 ? config.data.seed : config.run.seed;
  std::map<std::string, std::string> shared = flat_config(resolved);
  std::erase_if(shared, [](const auto& entry) { return !is_shared(entry.first); });
  return shared;
}

void check_together(const std::vector<RunConfig>& configs) {
  LORSA_CHECK(!configs.empty(), ConfigError, "nothing to train: no configuration was given");
  const std::map<std::string, std::string> first = shared_settings(configs.front());
  std::set<std::string> folders;
  for (const RunConfig& config : configs) {
    validate(config);
    LORSA_CHECK(folders.insert(config.run.out).second, ConfigError,
                "run.out = {} stands in two configurations that are trained together",
                config.run.out);
    for (const auto& [key, value] : shared_settings(config)) {
      LORSA_CHECK(value == first.at(key), ConfigError,
                  "{} = {} for {}, {} for {}: configurations trained together must agree in it{}",
                  key, value, config.run.out, first.at(key), configs.front().run.out,
                  key == "data.seed" ? " (where it is not set, run.seed orders the data)" : "");
    }
  }
}

}  // namespace lorsa::train
