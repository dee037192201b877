#include <set>

#include "lorsa/core/error.h"
#include "lorsa/train/run.h"
#include "train/start.h"

namespace lorsa::train {
namespace {

const std::set<std::string> kShared = {"run.device", "run.precision", "run.threads",
                                       "run.rank_timeout_s", "train.tokens"};

bool is_shared(const std::string& key) {
  return kShared.contains(key) || key.starts_with("data.") || key.starts_with("checkpoint.") ||
         key.starts_with("log.");
}

Configuration shared_by(const Member& member) {
  Configuration shared = member.configuration;
  shared["data.seed"] = formatted("{}", member.data.seed);
  std::erase_if(shared, [](const auto& entry) { return !is_shared(entry.first); });
  return shared;
}

}  // namespace

std::map<std::string, std::string> shared_settings(const RunConfig& config) {
  return shared_by(Member(config));
}

void check_together(const std::vector<Member>& members) {
  LORSA_CHECK(!members.empty(), ConfigError, "nothing to train: no configuration was given");
  const Configuration first = shared_by(members.front());
  std::set<std::string> folders;
  for (const Member& member : members) {
    LORSA_CHECK(folders.insert(member.run.out).second, ConfigError,
                "run.out = {} stands in two configurations trained together", member.run.out);
    for (const auto& [key, value] : shared_by(member)) {
      LORSA_CHECK(value == first.at(key), ConfigError,
                  "{} = {} for {}, {} for {}: configurations trained together must agree in it{}",
                  key, value, member.run.out, first.at(key), members.front().run.out,
                  key == "data.seed" ? " (where it is not set, run.seed orders the data)" : "");
    }
  }
}

}  // namespace lorsa::train
