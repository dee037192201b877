#include "lorsa/train/learner.h"

#include <ATen/ATen.h>
#include <ATen/record_function.h>

#include <limits>
#include <string_view>

#include "emulation/emulated_cuda.h"
#include "emulation/grid.h"
#include "lorsa/core/error.h"
#include "support/lorsa_oracle.h"
#include "support/test.h"

// Whole steps of a training with the CUDA kernels.

using namespace lorsa;

namespace {

/// Operations of LibTorch that have the host wait for a device, as long as it lives.
class HostWaits {
 public:
  HostWaits()
      : handle_(at::addThreadLocalCallback(
            at::RecordFunctionCallback(&on_call).scopes({at::RecordScope::FUNCTION}))) {
    count = 0;
  }

  ~HostWaits() { at::removeCallback(handle_); }

  HostWaits(const HostWaits&) = delete;
  HostWaits& operator=(const HostWaits&) = delete;

  inline static int64_t count = 0;

 private:
  static std::unique_ptr<at::ObserverContext> on_call(const at::RecordFunction& call) {
    for (const char* waits : {"aten::_local_scalar_dense", "aten::nonzero", "aten::masked_select",
                              "aten::equal", "aten::unique_dim", "aten::_unique2"}) {
      count += std::string_view(call.name()) == waits ? 1 : 0;
    }
    return nullptr;
  }

  at::CallbackHandle handle_;
};

constexpr int64_t kSequences = 2;
constexpr int64_t kPositions = 19;

/// A training whose heads 3 to 9 have been dead for long.
struct Training {
  explicit Training(const char* kind) {
    at::manual_seed(5);
    shape.kind = kind;
    shape.d_model = 36;
    shape.num_ov_heads = 256;
    shape.top_k = 9;
    if (shape.kind == "lorsa") {
      shape.num_qk_heads = 4;
      shape.d_qk = 16;
      shape.attn_scale = 4.0;
      shape.rope.rotary_dim = 16;
    }
    dictionary.emplace(shape, test::random_weights(shape, at::kFloat));
    dictionary->weights().b_V.narrow(0, 3, 7).fill_(-50.0);
    state.tokens_seen = 1000;
    state.last_active_H = at::full({shape.num_ov_heads}, 1000, at::kLong);
    state.last_active_H.narrow(0, 3, 7).zero_();
    state.optimizer = train::fresh_optimizer(dictionary->weights());
    train::Learner::Settings settings;
    settings.train.tokens = 100'000;
    settings.train.learning_rate = 1e-4;
    settings.train.aux_k = 4;
    settings.train.dead_after_tokens = 200;
    learner.emplace(settings, train::Learner::Parts{*dictionary, state, *communicator, 1});
  }

  void step() {
    train::TrainingBatch batch;
    batch.input_BTD = at::randn({kSequences, kPositions, shape.d_model});
    batch.target_BTD = at::randn({kSequences, kPositions, shape.d_model});
    if (in_last_position != 0.0) {
      batch.input_BTD[1][kPositions - 1].fill_(in_last_position);
      batch.target_BTD[1][kPositions - 1].fill_(in_last_position);
    }
    batch.scored_BT = at::ones({kSequences, kPositions}, at::kBool);
    batch.squared_deviation = at::zeros({}, at::kDouble);
    batch.num_scored = batch.num_tokens = kSequences * kPositions;
    learner->step(batch);
  }

  model::DictionaryShape shape;
  std::optional<model::Dictionary> dictionary;
  std::unique_ptr<dist::Communicator> communicator = dist::make_communicator({});
  train::TrainerState state;
  std::optional<train::Learner> learner;
  double in_last_position = 0.0;
};

}  // namespace

TEST_CASE("a step waits for the device only where it reads its numbers", "[emulation][learner]") {
  for (const char* kind : {"lorsa", "sae"}) {
    INFO(kind);
    constexpr int kSteps = 3;
    Training exact(kind);
    at::manual_seed(6);
    for (int i = 0; i < kSteps; ++i) {
      exact.step();
    }
    Training training(kind);
    at::manual_seed(6);
    const emulation::EmulatedCuda device;
    emulation::draw_orders(1);
    const HostWaits waits;
    training.step();
    CHECK(HostWaits::count == 1);  // for the number of dead heads
    for (int i = 1; i < kSteps; ++i) {
      training.step();
    }
    CHECK(HostWaits::count == 1);
    CHECK(at::equal(training.state.last_active_H, exact.state.last_active_H));
    for (const auto& [name, weight] : exact.dictionary->weights().named()) {
      INFO(name);
      CHECK(at::allclose(training.dictionary->weights().at(name), *weight, 1e-3, 1e-4));
    }
  }
}

TEST_CASE("a score that is no number stops a training before it changes weights",
          "[emulation][learner]") {
  Training training("sae");
  const emulation::EmulatedCuda device;
  training.step();
  const at::Tensor before = training.dictionary->weights().W_O.clone();
  training.in_last_position = std::numeric_limits<double>::quiet_NaN();
  // The last position of the second micro-batch.
  REQUIRE_THROWS_WITH(training.step(), Catch::Contains("position 18, head 0"));
  CHECK(at::equal(before, training.dictionary->weights().W_O));
  CHECK(training.state.optimizer.steps == 1);
}
