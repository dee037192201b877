#include "experiments/stages.h"

#include <algorithm>

#include "config/yaml.h"
#include "experiments/toy_stage.h"
#include "lorsa/core/error.h"

namespace lorsa::experiments {
namespace {

io::Json typed_value(const config::Field& field) {
  const std::string yaml = field.get();
  if (field.is_list) {
    return yaml;
  }
  const std::string text = config::parse_yaml(yaml, {.name = field.key}).text;
  if (field.type == "count") {
    return config::parse_count(text);
  }
  if (field.type == "number") {
    return std::stod(text);
  }
  const bool is_word = text == "true" || text == "false";
  const bool is_boolean = is_word && !field.takes_quoted;
  return is_boolean ? io::Json(text == "true") : io::Json(text);
}

/// Why a key cannot be set by a sweep; empty if it can.
std::string reason_against(const SweepConfig::Sweep& sweep, const StageKey& key) {
  const bool has_stage = key.stage == Stage::kTrain ||
                         (key.stage == Stage::kCache ? !sweep.cache.empty() : !sweep.toy.empty());
  if (!has_stage) {
    return key.stage == Stage::kCache ? "there is no sweep.cache that it could belong to"
                                      : "there is no sweep.toy that it could belong to";
  }
  const std::string name = key.full();
  if (name == "run.out" || name == "cache:out.path" || name == "toy:run.out") {
    return "the sweep chooses the folders within sweep.out";
  }
  if (name == "data.cache" && !sweep.cache.empty()) {
    return "the cache is that of sweep.cache";
  }
  if ((name == "cache:model.path" || name == "cache:data.files") && !sweep.toy.empty()) {
    return "model and corpus are those of sweep.toy";
  }
  return "";
}

}  // namespace

Resolved resolved(const config::Fields& fields) {
  Resolved out;
  for (const config::Field& field : fields.all()) {
    out.yaml[field.key] = field.get();
    out.values[field.key] = typed_value(field);
  }
  return out;
}

StageReader::StageReader(const SweepConfig::Sweep& sweep, const std::vector<Axis>& axes)
    : sweep_(sweep), axes_(axes) {
  for (const std::string& text : sweep.set) {
    set_.push_back(parse_setting(text, "sweep.set"));
  }
  check_keys();
}

void StageReader::check_keys() const {
  const auto check = [this](const StageKey& key, const std::string& where) {
    const std::string reason = reason_against(sweep_, key);
    LORSA_CHECK(reason.empty(), ConfigError, "{}: {}: {}", where, key.full(), reason);
  };
  for (const Setting& setting : set_) {
    check(setting.key, "sweep.set");
  }
  for (const Axis& axis : axes_) {
    for (const StageKey& key : axis.keys) {
      const std::string where = formatted("sweep.axes: '{}'", axis.text);
      check(key, where);
      const bool is_set =
          std::ranges::any_of(set_, [&](const Setting& setting) { return setting.key == key; });
      LORSA_CHECK(!is_set, ConfigError, "{}: {} has a fixed value in sweep.set", where, key.full());
    }
  }
}

std::vector<std::string> StageReader::overrides(const GridPoint& point, Stage stage) const {
  std::vector<std::string> texts;
  for (const std::vector<Setting>* settings : {&set_, &point.settings}) {
    for (const Setting& setting : *settings) {
      if (setting.key.stage == stage) {
        texts.push_back(setting.override_text());
      }
    }
  }
  return texts;
}

void StageReader::explain(Stage stage, const std::string& message) const {
  const auto is_named = [&](const StageKey& key) {
    return key.stage == stage && message.starts_with(formatted("--set {}: ", key.key));
  };
  for (const Axis& axis : axes_) {
    for (const StageKey& key : axis.keys) {
      LORSA_CHECK(!is_named(key), ConfigError, "sweep.axes: '{}': {}{}", axis.text,
                  prefix_of(stage), message.substr(std::string("--set ").size()));
    }
  }
  for (const Setting& setting : set_) {
    LORSA_CHECK(!is_named(setting.key), ConfigError, "sweep.set: {}{}", prefix_of(stage),
                message.substr(std::string("--set ").size()));
  }
  throw ConfigError(message);
}

template <typename Config>
Resolved StageReader::load(Config& config,
                           Stage stage,
                           const std::string& path,
                           const std::vector<std::string>& overrides) const {
  config::Fields fields;
  describe(fields, config);
  try {
    config::load(fields, path, overrides);
  } catch (const ConfigError& error) {
    explain(stage, error.what());
  }
  return resolved(fields);
}

int64_t StageReader::order_seed(const GridPoint& point, const PointStages& stages) const {
  if (stages.train.data.seed >= 0) {
    return stages.train.data.seed;
  }
  GridPoint base = point;
  std::erase_if(base.settings, [](const Setting& setting) {
    return setting.key == StageKey{Stage::kTrain, "run.seed"};
  });
  return base.settings.size() == point.settings.size() ? stages.train.run.seed
                                                       : read(base).train.run.seed;
}

PointStages StageReader::read(const GridPoint& point) const {
  const SweepConfig::Sweep& sweep = sweep_;
  PointStages stages;
  // What the sweep fills in need not stand in the files.
  std::vector<std::string> train = overrides(point, Stage::kTrain);
  train.emplace_back("run.out=run");
  if (!sweep.cache.empty()) {
    train.emplace_back("data.cache=cache");
    std::vector<std::string> cache = overrides(point, Stage::kCache);
    cache.emplace_back("out.path=cache");
    if (!sweep.toy.empty()) {
      cache.insert(cache.end(), {"model.path=model", "data.files=[corpus.npy]"});
    }
    stages.cache_settings = load(stages.cache, Stage::kCache, sweep.cache, cache);
    LORSA_CHECK(stages.cache.components.size() == 1, ConfigError,
                "{}: a sweep's cache has exactly one component, found components = {}", sweep.cache,
                stages.cache_settings.yaml.at("components"));
    LORSA_CHECK(stages.cache.layers.size() == 1, ConfigError,
                "{}: a sweep's cache has exactly one layer, found layers = {}", sweep.cache,
                stages.cache_settings.yaml.at("layers"));
  }
  if (!sweep.toy.empty()) {
    stages.toy_overrides = overrides(point, Stage::kToy);
    std::vector<std::string> toy = stages.toy_overrides;
    toy.emplace_back("run.out=toy");
    try {
      stages.toy_settings = resolve_toy(sweep.toy, toy);
    } catch (const ConfigError& error) {
      explain(Stage::kToy, error.what());
    }
  }
  stages.train_settings = load(stages.train, Stage::kTrain, sweep.train, train);
  // Seeds share the batches, so that they are of initialisation alone and train together.
  stages.train.data.seed = order_seed(point, stages);
  stages.train_settings.yaml["data.seed"] = formatted("{}", stages.train.data.seed);
  stages.train_settings.values["data.seed"] = stages.train.data.seed;
  return stages;
}

}  // namespace lorsa::experiments
