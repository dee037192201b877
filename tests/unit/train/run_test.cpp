#include "lorsa/train/run.h"

#include <ATen/ATen.h>

#include <csignal>

#include "lorsa/core/error.h"
#include "lorsa/core/stop_signal.h"
#include "lorsa/io/files.h"
#include "lorsa/model/checkpoint.h"
#include "lorsa/train/trainer.h"
#include "support/tensors.h"
#include "support/test.h"
#include "tiny_run.h"
#include "train/run_folder.h"

using namespace lorsa;

using test::bitwise_equal;
using test::final_weights;
using test::kStepTokens;
using test::make_config;
using test::metrics;
using test::run;
using test::timeless;

namespace {

namespace fs = std::filesystem;

// Leaves `out` as a crash would: the newest checkpoint from before the end, no final folder.
void forget_end(const train::RunConfig& c, int64_t tokens) {
  fs::remove_all(fs::path(c.run.out) / "final");
  for (const auto& entry : fs::directory_iterator(fs::path(c.run.out) / "checkpoints")) {
    if (std::stoll(entry.path().filename().string().substr(7)) > tokens) {
      fs::remove_all(entry.path());
    }
  }
}

}  // namespace

TEST_CASE("a run lowers the loss and leaves the documented files", "[train]") {
  const test::TempDir dir;
  test::write_tiny_cache(dir / "cache", 30);
  train::RunConfig c = make_config(dir.path(), "run");
  c.train.tokens = 150 * kStepTokens;
  const train::TrainSummary summary = run(c);
  REQUIRE(summary.tokens == c.train.tokens);
  REQUIRE_FALSE(summary.already_done);
  for (const char* name : {"config.yaml", "environment.json", "metrics.jsonl", "log.txt",
                           "final/lorsa.json", "final/model.safetensors"}) {
    INFO(name);
    REQUIRE(fs::exists(fs::path(c.run.out) / name));
  }
  const auto lines = metrics(c);
  REQUIRE(lines.size() == 30);
  REQUIRE(lines.back()["tokens"] == c.train.tokens);
  REQUIRE(lines.back()["fvu"].get<double>() < 0.6 * lines[1]["fvu"].get<double>());
  REQUIRE(lines.back()["l0"].get<double>() <= 4.0);
  REQUIRE(lines.back()["top_k"] == 4);
  const model::LoadedDictionary final = model::load_checkpoint(fs::path(c.run.out) / "final");
  REQUIRE(final.info.normalization == model::Normalization::kFolded);
  REQUIRE(final.info.site.layer == 1);
}

TEST_CASE("a run cut after a checkpoint and continued ends bitwise equal to one that was not",
          "[train]") {
  const test::TempDir dir;
  test::write_tiny_cache(dir / "cache", 30);
  const train::RunConfig whole = make_config(dir.path(), "whole");
  run(whole);
  const train::RunConfig cut = make_config(dir.path(), "cut");
  run(cut);
  for (const int64_t steps : {8, 4}) {
    forget_end(cut, steps * kStepTokens);
    const train::TrainSummary summary = run(cut);
    REQUIRE(summary.tokens == whole.train.tokens);
    REQUIRE(bitwise_equal(final_weights(whole), final_weights(cut)));
    REQUIRE(timeless(metrics(whole)) == timeless(metrics(cut)));
  }
}

TEST_CASE("a stop signal saves a checkpoint and the next call goes on bitwise", "[train]") {
  const test::TempDir dir;
  test::write_tiny_cache(dir / "cache", 30);
  const train::RunConfig whole = make_config(dir.path(), "whole");
  run(whole);
  const train::RunConfig stopped = make_config(dir.path(), "stopped");
  {
    const StopSignal stop;
    std::raise(SIGTERM);
    REQUIRE_THROWS_AS(run(stopped), Interrupted);
  }
  REQUIRE_FALSE(fs::exists(fs::path(stopped.run.out) / "final"));
  REQUIRE(fs::exists(fs::path(stopped.run.out) / "checkpoints" / "tokens-000000000032" /
                     "trainer.json"));
  run(stopped);
  REQUIRE(bitwise_equal(final_weights(whole), final_weights(stopped)));
}

TEST_CASE("a finished run is not trained again", "[train]") {
  const test::TempDir dir;
  test::write_tiny_cache(dir / "cache", 30);
  const train::RunConfig c = make_config(dir.path(), "run");
  run(c);
  const auto written = fs::last_write_time(fs::path(c.run.out) / "final" / "lorsa.json");
  REQUIRE(run(c).already_done);
  REQUIRE(fs::last_write_time(fs::path(c.run.out) / "final" / "lorsa.json") == written);
}

TEST_CASE("a longer budget goes on from the last checkpoint; another model is refused by its keys",
          "[train]") {
  const test::TempDir dir;
  test::write_tiny_cache(dir / "cache", 30);
  train::RunConfig c = make_config(dir.path(), "run");
  run(c);
  c.train.tokens = 14 * kStepTokens;
  c.train.learning_rate = 2e-2;
  REQUIRE(run(c).tokens == 14 * kStepTokens);
  c.train.tokens = 16 * kStepTokens;
  c.model.top_k = 5;
  REQUIRE_THROWS_WITH(
      run(c), Catch::Contains("model.top_k") && Catch::Contains("4") && Catch::Contains("5"));
  c.model.top_k = 4;
  c.run.seed = 3;
  REQUIRE_THROWS_AS(run(c), ConfigError);
}

TEST_CASE("only the newest checkpoints are kept and a half-written one is ignored", "[train]") {
  const test::TempDir dir;
  test::write_tiny_cache(dir / "cache", 30);
  train::RunConfig c = make_config(dir.path(), "run");
  c.checkpoint.every_tokens = 2 * kStepTokens;
  c.checkpoint.keep = 3;
  const fs::path leftover = fs::path(c.run.out) / "checkpoints" / "tokens-000000009999.tmp";
  fs::create_directories(leftover);
  run(c);
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(fs::path(c.run.out) / "checkpoints")) {
    names.push_back(entry.path().filename().string());
  }
  std::sort(names.begin(), names.end());
  REQUIRE(names == std::vector<std::string>{"tokens-000000000256", "tokens-000000000320",
                                            "tokens-000000000384"});
}

TEST_CASE("what a kill left aside while it was replaced is gone on with", "[train]") {
  const test::TempDir dir;
  test::write_tiny_cache(dir / "cache", 30);
  const train::RunConfig c = make_config(dir.path(), "run");
  run(c);
  const train::RunFolder folder(c.run.out);
  const fs::path newest = folder.checkpoint(folder.checkpoint_tokens().back());
  for (const fs::path& path : {newest, folder.final_checkpoint()}) {
    fs::rename(path, path.string() + ".old");
  }
  folder.restore();
  REQUIRE(folder.checkpoint(folder.checkpoint_tokens().back()) == newest);
  REQUIRE(run(c).already_done);
}

TEST_CASE("a loss that is not finite stops the step before the weights are touched", "[train]") {
  const test::TempDir dir;
  test::write_tiny_cache(dir / "cache", 30);
  const train::RunConfig c = make_config(dir.path(), "run");
  const data::CacheReader cache(c.data.cache);
  model::Dictionary dictionary = test::small_lorsa();
  dictionary.weights().b_D[0] = std::numeric_limits<float>::infinity();
  const at::Tensor before = dictionary.weights().W_O.clone();
  train::TrainerState state = test::fresh_state(dictionary);
  data::ActivationLoader loader(cache, {.batch_rows = 2});
  const auto alone = dist::make_communicator({});
  std::vector<train::Learner> learners;
  learners.emplace_back(train::Learner::Settings{c.train, c.log},
                        train::Learner::Parts{dictionary, state, *alone});
  train::Trainer trainer({c.train.tokens, c.log.every_tokens, c.checkpoint.every_tokens},
                         {cache, loader, *alone, learners, c10::Device(c10::kCPU)}, {});
  REQUIRE_THROWS_WITH(trainer.run(), Catch::Contains("not finite"));
  REQUIRE(at::equal(before, dictionary.weights().W_O));
  REQUIRE(state.optimizer.steps == 0);
}

TEST_CASE("the plan counts parameters and steps without writing", "[train]") {
  const test::TempDir dir;
  test::write_tiny_cache(dir / "cache", 30);
  const train::RunConfig c = make_config(dir.path(), "run");
  const std::string plan = train::describe_plan(c);
  // 2 * 3*8*20 + 2 * 3*8 + 2 * 24*20 + 24 + 20
  REQUIRE_THAT(plan, Catch::Contains("2012"));
  REQUIRE_THAT(plan, Catch::Contains("12 steps of 32"));
  REQUIRE_FALSE(fs::exists(c.run.out));
}

TEST_CASE("a cache that is absent or of another width is refused before anything is written",
          "[train]") {
  const test::TempDir dir;
  test::write_tiny_cache(dir / "cache", 30);
  train::RunConfig c = make_config(dir.path(), "run");
  c.data.cache = (dir / "nowhere").string();
  REQUIRE_THROWS_AS(run(c), IoError);
  c = make_config(dir.path(), "run");
  c.model.d_qk = 4;
  REQUIRE_THROWS_AS(run(c), ConfigError);
  REQUIRE_FALSE(fs::exists(fs::path(c.run.out) / "final"));
}
