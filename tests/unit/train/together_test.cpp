#include <ATen/ATen.h>

#include <csignal>

#include "lorsa/core/error.h"
#include "lorsa/core/stop_signal.h"
#include "lorsa/io/files.h"
#include "lorsa/train/run.h"
#include "support/tensors.h"
#include "support/test.h"
#include "support/throws.h"
#include "tiny_run.h"

using namespace lorsa;

using test::bitwise_equal;
using test::final_weights;
using test::kStepTokens;
using test::make_config;
using test::message_of;
using test::metrics;
using test::require_parts;
using test::timeless;

namespace {

namespace fs = std::filesystem;

/// Differ in all that members may differ in: kind, size, start, rates, annealing, micro-batch.
std::vector<train::RunConfig> mixed(const fs::path& root, const std::string& prefix) {
  train::RunConfig dictionary = make_config(root, prefix + "lorsa");
  dictionary.data.seed = 5;
  train::RunConfig sae = dictionary;
  sae.run.out = (root / (prefix + "sae")).string();
  sae.run.seed = 3;
  sae.model = {};
  sae.model.kind = "sae";
  sae.model.num_ov_heads = 40;
  sae.model.top_k = 3;
  sae.init = {};
  sae.train.initial_k = 0;
  sae.train.unit_decoder = true;
  sae.train.learning_rate = 3e-3;
  sae.train.aux_k = 2;
  sae.train.dead_after_tokens = 4 * kStepTokens;
  train::RunConfig other = dictionary;
  other.run.out = (root / (prefix + "other")).string();
  other.run.seed = 9;
  other.model.d_qk = 4;
  other.model.num_qk_heads = 6;
  other.init = {};
  other.model.activation = model::Activation::kBatchTopK;
  other.train.warmup_tokens = 0;
  train::RunConfig parts = dictionary;
  parts.run.out = (root / (prefix + "parts")).string();
  parts.train.micro_batch_sequences = 1;
  return {sae, dictionary, other, parts};
}

void train_all(const std::vector<train::RunConfig>& configs) {
  static_cast<void>(train::train_together(configs, Progress::Visible::kNo));
}

}  // namespace

TEST_CASE("Lorsas and SAEs trained together end in the bits of each trained alone", "[train]") {
  const test::TempDir dir;
  test::write_tiny_cache(dir / "cache", 30);
  const auto alone = mixed(dir.path(), "alone-");
  for (const train::RunConfig& config : alone) {
    test::run(config);
  }
  const auto together = mixed(dir.path(), "together-");
  const train::TrainSummary summary = train::train_together(together, Progress::Visible::kNo);
  REQUIRE(summary.tokens == together.front().train.tokens);
  REQUIRE(summary.final_checkpoints.size() == together.size());
  for (size_t i = 0; i < together.size(); ++i) {
    INFO(together[i].run.out);
    REQUIRE(summary.final_checkpoints[i] == fs::path(together[i].run.out) / "final");
    REQUIRE(bitwise_equal(final_weights(alone[i]), final_weights(together[i])));
    REQUIRE(timeless(metrics(alone[i])) == timeless(metrics(together[i])));
    REQUIRE(fs::exists(fs::path(together[i].run.out) / "report.html"));
    REQUIRE(fs::exists(fs::path(together[i].run.out) / "log.txt") == (i == 0));
  }
  // The order of the data is what they share, not the start.
  REQUIRE_FALSE(bitwise_equal(final_weights(together[1]), final_weights(together[3])));
  REQUIRE(train::train_together(together, Progress::Visible::kNo).already_done);
}

TEST_CASE("trainings stopped together go on together or alone, bitwise", "[train]") {
  const test::TempDir dir;
  test::write_tiny_cache(dir / "cache", 30);
  const auto whole = mixed(dir.path(), "whole-");
  train_all(whole);
  const auto stopped = mixed(dir.path(), "stopped-");
  {
    const StopSignal stop;
    std::raise(SIGTERM);
    REQUIRE_THROWS_AS(train_all(stopped), Interrupted);
  }
  REQUIRE_FALSE(fs::exists(fs::path(stopped[0].run.out) / "final"));
  test::run(stopped[2]);
  train_all({stopped[0], stopped[1], stopped[3]});
  for (size_t i = 0; i < whole.size(); ++i) {
    INFO(whole[i].run.out);
    REQUIRE(bitwise_equal(final_weights(whole[i]), final_weights(stopped[i])));
    REQUIRE(timeless(metrics(whole[i])) == timeless(metrics(stopped[i])));
  }
}

TEST_CASE("after a kill between two checkpoints trainings go on from the one that all have",
          "[train]") {
  const test::TempDir dir;
  test::write_tiny_cache(dir / "cache", 30);
  const auto whole = mixed(dir.path(), "whole-");
  train_all(whole);
  const auto killed = mixed(dir.path(), "killed-");
  train_all(killed);
  for (const train::RunConfig& config : killed) {
    fs::remove_all(fs::path(config.run.out) / "final");
  }
  fs::remove_all(fs::path(killed[2].run.out) / "checkpoints/tokens-000000000384");
  train_all(killed);
  for (size_t i = 0; i < whole.size(); ++i) {
    INFO(whole[i].run.out);
    REQUIRE(bitwise_equal(final_weights(whole[i]), final_weights(killed[i])));
    REQUIRE(timeless(metrics(whole[i])) == timeless(metrics(killed[i])));
  }
}

TEST_CASE("one more training leaves those that are there alone", "[train]") {
  const test::TempDir dir;
  test::write_tiny_cache(dir / "cache", 30);
  const auto configs = mixed(dir.path(), "run-");
  train_all({configs[0], configs[1]});
  require_parts(message_of<ConfigError>([&] {
                  train_all({configs[0], configs[1], configs[2]});
                }),
                {configs[0].run.out, "run.out"});
  REQUIRE(fs::exists(dir / "run-sae/final/lorsa.json"));
  REQUIRE(fs::exists(dir / "run-lorsa/checkpoints/tokens-000000000384/trainer.json"));
  REQUIRE_FALSE(fs::exists(configs[2].run.out));
}

TEST_CASE("a training is described by the config.yaml in its folder", "[train]") {
  const test::TempDir dir;
  test::write_tiny_cache(dir / "cache", 30);
  const auto together = mixed(dir.path(), "run-");
  train_all(together);
  for (const train::RunConfig& config : together) {
    train::RunConfig alone;
    config::Fields fields;
    train::describe(fields, alone);
    config::load(fields, fs::path(config.run.out) / "config.yaml", {});
    alone.run.out = config.run.out + "-alone";
    test::run(alone);
    REQUIRE(bitwise_equal(final_weights(alone), final_weights(config)));
  }
}

TEST_CASE("what trainings must share is refused by its key", "[train]") {
  const test::TempDir dir;
  test::write_tiny_cache(dir / "cache", 30);

  const struct {
    const char* key;
    void (*change)(train::RunConfig&);
  } kChanges[] = {
      {"data.batch_sequences", [](train::RunConfig& c) { c.data.batch_sequences = 4; }},
      {"data.cache", [](train::RunConfig& c) { c.data.cache += "/"; }},
      {"data.seed", [](train::RunConfig& c) { c.data.seed = 6; }},
      {"train.tokens", [](train::RunConfig& c) { c.train.tokens += kStepTokens; }},
      {"checkpoint.every_tokens", [](train::RunConfig& c) { c.checkpoint.every_tokens += 1; }},
      {"checkpoint.keep", [](train::RunConfig& c) { c.checkpoint.keep += 1; }},
      {"log.every_tokens", [](train::RunConfig& c) { c.log.every_tokens += 1; }},
      {"run.device", [](train::RunConfig& c) { c.run.device = "auto"; }},
      {"run.threads", [](train::RunConfig& c) { c.run.threads = 1; }},
      {"run.precision", [](train::RunConfig& c) { c.run.precision = train::Precision::kFloat32; }},
      {"run.rank_timeout_s", [](train::RunConfig& c) { c.run.rank_timeout_s += 1; }},
  };

  for (const auto& [key, change] : kChanges) {
    auto configs = mixed(dir.path(), "run-");
    change(configs[2]);
    require_parts(message_of<ConfigError>([&] { train_all(configs); }),
                  {key, configs[2].run.out, configs[0].run.out});
    REQUIRE_FALSE(fs::exists(configs[0].run.out));
  }
}

TEST_CASE("trainings together need folders of their own", "[train]") {
  const test::TempDir dir;
  test::write_tiny_cache(dir / "cache", 30);
  auto configs = mixed(dir.path(), "run-");
  configs[1].run.out = configs[2].run.out;
  require_parts(message_of<ConfigError>([&] { train_all(configs); }), {"run.out"});
  REQUIRE_THROWS_AS(train_all({}), ConfigError);
}

TEST_CASE("every one of several trainings needs a kind that stands for what the cache holds",
          "[train]") {
  const test::TempDir dir;
  test::write_tiny_cache(dir / "cache", 30);
  auto configs = mixed(dir.path(), "run-");
  configs[0].model.kind = "transcoder";
  require_parts(message_of<ConfigError>([&] {
                  train_all({configs[1], configs[0]});
                }),
                {"model.kind: transcoder stands for mlp"});
  REQUIRE_FALSE(fs::exists(configs[1].run.out));
}

TEST_CASE("run.seed stands for a data.seed that is not set", "[train]") {
  train::RunConfig unset;
  unset.run.seed = 4;
  train::RunConfig set = unset;
  set.run.seed = 0;
  set.data.seed = 4;
  REQUIRE(train::shared_settings(unset) == train::shared_settings(set));
  set.data.seed = 0;
  REQUIRE(train::shared_settings(unset) != train::shared_settings(set));
  REQUIRE(train::shared_settings(set).at("data.seed") == "0");
  REQUIRE_FALSE(train::shared_settings(set).contains("model.top_k"));
}
