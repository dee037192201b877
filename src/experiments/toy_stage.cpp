#include "experiments/toy_stage.h"

#include "lorsa/toy/config.h"
#include "lorsa/toy/make_toy.h"

namespace lorsa::experiments {

Resolved resolve_toy(const std::filesystem::path& path, const std::vector<std::string>& overrides) {
  toy::ToyConfig config;
  config::Fields fields;
  describe(fields, config);
  config::load(fields, path, overrides);
  return resolved(fields);
}

void make_toy(const std::filesystem::path& path,
              const std::vector<std::string>& overrides,
              Progress::Visible progress) {
  toy::ToyConfig config;
  config::Fields fields;
  describe(fields, config);
  config::load(fields, path, overrides);
  static_cast<void>(toy::make_toy(config, progress));
}

}  // namespace lorsa::experiments
