#include <ATen/ATen.h>

#include <limits>

#include "dist/collective.h"
#include "lorsa/core/error.h"
#include "lorsa/train/trainer.h"
#include "support/test.h"
#include "tiny_run.h"

// What a rank's step asks of the others, by a second rank that does the same as the first.

using namespace lorsa;
using test::kStepTokens;

namespace {

/// Two ranks of which the other has what this one has; the small numbers of a step may be changed.
class TwinRanks final : public dist::Communicator {
 public:
  TwinRanks() : Communicator({.rank = 0, .world_size = 2}, c10::kCPU) {}

  void finish() override {}

  [[nodiscard]] std::string description() const override { return "twins"; }

  int64_t num_calls = 0;
  int64_t num_counts = 0;  ///< of scored positions, before the first step
  std::function<void(const at::Tensor&)> change_numbers;

 private:
  std::unique_ptr<dist::Work::Operation> begin(const dist::Collective& collective) override {
    ++num_calls;
    REQUIRE(collective.kind == dist::CollectiveKind::kSum);
    num_counts += collective.tensor.scalar_type() == at::kLong ? 1 : 0;
    collective.tensor.mul_(2);
    if (collective.tensor.scalar_type() == at::kDouble && change_numbers) {
      change_numbers(collective.tensor);
    }
    return nullptr;
  }
};

/// A small Lorsa's training on the first of the two ranks.
struct TwinTraining {
  explicit TwinTraining(const std::filesystem::path& folder) : cache(folder) {
    num_weights = static_cast<int64_t>(model::weight_names(dictionary.shape()).size());
  }

  bool run(int64_t steps) { return run(steps, ranks); }

  /// The first rank's rows by these ranks.
  bool run(int64_t steps, dist::Communicator& communicator) {
    data::ActivationLoader loader(cache, {.batch_rows = 1, .world_size = 2});
    train::Learner::Settings settings;
    settings.train.tokens = steps * kStepTokens / 2 * communicator.world_size();
    std::vector<train::Learner> learners;
    learners.emplace_back(settings, train::Learner::Parts{dictionary, state, communicator});
    train::Trainer::Hooks hooks;
    hooks.checkpoint = [&] { checkpoints.push_back(state.rows_seen); };
    hooks.stop_requested = [] { return false; };
    train::Trainer trainer({settings.train.tokens, kStepTokens, settings.train.tokens},
                           {cache, loader, communicator, learners, c10::kCPU}, hooks);
    return trainer.run();
  }

  data::CacheReader cache;
  TwinRanks ranks;
  int64_t num_weights = 0;
  model::Dictionary dictionary = test::small_lorsa();
  train::TrainerState state = test::fresh_state(dictionary);
  std::vector<int64_t> checkpoints;
};

}  // namespace

TEST_CASE("a step of several ranks sums its gradients and makes one collective more", "[train]") {
  const test::TempDir dir;
  test::write_tiny_cache(dir / "cache", 30);
  TwinTraining training(dir / "cache");
  constexpr int64_t kTwinSteps = 5;
  REQUIRE(training.run(kTwinSteps));
  CHECK(training.ranks.num_counts == 1);
  CHECK(training.ranks.num_calls == 1 + kTwinSteps * (training.num_weights + 1));
  // Every head's last act is that of both.
  CHECK(training.state.last_active_H.max().item<int64_t>() == kTwinSteps * kStepTokens);
}

TEST_CASE("two ranks with the same rows train as one with these rows, to the bit", "[train]") {
  const test::TempDir dir;
  test::write_tiny_cache(dir / "cache", 30);
  TwinTraining two(dir / "cache");
  REQUIRE(two.run(5));
  TwinTraining one(dir / "cache");
  const auto alone = dist::make_communicator({});
  REQUIRE(one.run(5, *alone));
  REQUIRE(test::bitwise_equal(one.dictionary.weights(), two.dictionary.weights()));
}

TEST_CASE("a stop that another rank asks for saves and ends all", "[train]") {
  const test::TempDir dir;
  test::write_tiny_cache(dir / "cache", 30);
  TwinTraining training(dir / "cache");
  // Behind the six numbers of a step.
  training.ranks.change_numbers = [&](const at::Tensor& numbers) {
    numbers[6] += training.state.tokens_seen == 2 * kStepTokens ? 1.0 : 0.0;
  };
  REQUIRE_FALSE(training.run(5));
  CHECK(training.state.tokens_seen == 3 * kStepTokens);
  // The batch that was read ahead is read again.
  CHECK(training.checkpoints == std::vector<int64_t>{2 * 3});
}

TEST_CASE("a loss that is not finite on another rank stops this one before it changes weights",
          "[train]") {
  const test::TempDir dir;
  test::write_tiny_cache(dir / "cache", 30);
  TwinTraining training(dir / "cache");
  training.ranks.change_numbers = [](const at::Tensor& numbers) {
    numbers[0] += std::numeric_limits<double>::quiet_NaN();
  };
  const at::Tensor before = training.dictionary.weights().W_O.clone();
  REQUIRE_THROWS_WITH(training.run(5), Catch::Contains("not finite"));
  CHECK(at::equal(before, training.dictionary.weights().W_O));
  CHECK(training.state.optimizer.steps == 0);
}
