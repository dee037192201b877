#include "train/batch_queue.h"

#include <ATen/ATen.h>
#include <ATen/record_function.h>

#include <cstring>
#include <mutex>
#include <set>

#include "lorsa/train/trainer.h"
#include "support/test.h"
#include "tiny_run.h"

// What the host does with a batch on its way to a device, on a device that is not there.

using namespace lorsa;
using test::kStepTokens;

namespace {

constexpr int64_t kWidth = 20;

/// Bytes of activations that the host's operations read outside of a copy to the device.
class HostReads {
 public:
  HostReads()
      : handle_(at::addGlobalCallback(at::RecordFunctionCallback(&on_call).needsInputs(true).scopes(
            {at::RecordScope::FUNCTION}))) {
    const std::lock_guard lock(mutex);
    blocks.clear();
    bytes = 0;
    in_trainer = true;
  }

  ~HostReads() {
    at::removeCallback(handle_);
    in_trainer = false;
  }

  HostReads(const HostReads&) = delete;
  HostReads& operator=(const HostReads&) = delete;

  static int64_t counted() {
    const std::lock_guard lock(mutex);
    return bytes;
  }

  /// From now on reading this memory counts, copies to the device aside.
  static void watch(const at::Tensor& host) {
    const std::lock_guard lock(mutex);
    blocks.insert(host.const_data_ptr());
  }

  inline static thread_local bool in_copy = false;

 private:
  // On the reader's threads all reading of activations counts.
  static std::unique_ptr<at::ObserverContext> on_call(const at::RecordFunction& call) {
    const std::lock_guard lock(mutex);
    for (const c10::IValue& input : call.inputs()) {
      if (in_copy || !input.isTensor() || !input.toTensor().defined()) {
        continue;
      }
      const at::Tensor& tensor = input.toTensor();
      if (in_trainer ? blocks.contains(tensor.const_data_ptr()) : tensor.is_floating_point()) {
        bytes += static_cast<int64_t>(tensor.nbytes());
      }
    }
    return nullptr;
  }

  inline static thread_local bool in_trainer = false;
  inline static std::mutex mutex;
  inline static std::set<const void*> blocks;
  inline static int64_t bytes = 0;

  at::CallbackHandle handle_;
};

/// A device whose copies have happened only once they are joined.
class StubCopies final : public AsyncCopies {
 public:
  explicit StubCopies(std::vector<std::string>& log) : log_(log) {}

  at::Tensor begin(const at::Tensor& host) override {
    const Flag flag(HostReads::in_copy);
    if (host.scalar_type() != at::kBool) {
      HostReads::watch(host);
    }
    bytes += static_cast<int64_t>(host.nbytes());
    note("copy");
    // Never of use before join().
    at::Tensor copy = at::empty_like(host);
    std::memset(copy.mutable_data_ptr(), 0xff, copy.nbytes());
    pending_.emplace_back(host, copy);
    return copy;
  }

  void join(const std::vector<at::Tensor>& copies) override {
    const Flag flag(HostReads::in_copy);
    REQUIRE(copies.size() == pending_.size());
    for (const auto& [host, copy] : pending_) {
      copy.copy_(host);
    }
    pending_.clear();
    note("join");
  }

  int64_t bytes = 0;

 private:
  struct Flag {
    explicit Flag(bool& set) : flag(set) { flag = true; }

    ~Flag() { flag = false; }

    bool& flag;
  };

  void note(const char* what) {
    if (log_.empty() || log_.back() != what) {
      log_.emplace_back(what);
    }
  }

  std::vector<std::string>& log_;
  std::vector<std::pair<at::Tensor, at::Tensor>> pending_;
};

/// A Lorsa and what trains it, from the beginning or from where another one stopped.
struct Training {
  /// Up to `steps` steps, or until `stop` of them. Returns the loader's position.
  int64_t run(const std::filesystem::path& folder,
              int64_t steps,
              AsyncCopies* copies,
              int64_t stop = 0) {
    const data::CacheReader cache(folder);
    data::LoaderOptions options{.batch_rows = 2, .start_position = state.rows_seen};
    if (copies != nullptr) {
      options.form = data::BatchForm::kStored;
    }
    data::ActivationLoader loader(cache, options);
    train::Learner::Settings settings;
    settings.train.tokens = steps * kStepTokens;
    std::vector<train::Learner> learners;
    learners.emplace_back(settings, train::Learner::Parts{dictionary, state, *communicator});
    train::Trainer::Hooks hooks;
    hooks.step_done = [&](int64_t, double) { log.emplace_back("step"); };
    hooks.stop_requested = [&] { return state.tokens_seen == stop * kStepTokens; };
    train::Trainer trainer({settings.train.tokens, kStepTokens, settings.train.tokens},
                           {cache, loader, *communicator, learners, c10::kCPU, copies}, hooks);
    trainer.run();
    return loader.position();
  }

  model::Dictionary dictionary = test::small_lorsa();
  std::unique_ptr<dist::Communicator> communicator = dist::make_communicator({});
  train::TrainerState state = test::fresh_state(dictionary);
  std::vector<std::string> log;
};

constexpr int64_t kSteps = 5;

}  // namespace

TEST_CASE("a batch crosses once as it is stored, and the next is under way before the step ends",
          "[train]") {
  const test::TempDir dir;
  test::write_tiny_cache(dir / "cache", 30, Component::kAttention,
                         {.dtype = data::StoreDtype::kBFloat16});
  Training on_host;
  on_host.run(dir / "cache", kSteps, nullptr);
  Training training;
  StubCopies copies(training.log);
  const HostReads reads;
  const int64_t position = training.run(dir / "cache", kSteps, &copies);
  // Nothing is read past the end.
  CHECK(training.log == std::vector<std::string>{"copy", "join", "copy", "step", "join", "copy",
                                                 "step", "join", "copy", "step", "join", "copy",
                                                 "step", "join", "step"});
  CHECK(position == 2 * kSteps);
  // Input and target in bfloat16, and whether the position is scored.
  CHECK(copies.bytes == kSteps * kStepTokens * (2 * 2 * kWidth + 1));
  CHECK(reads.counted() == 0);
  REQUIRE(test::bitwise_equal(training.dictionary.weights(), on_host.dictionary.weights()));
}

TEST_CASE("a training stopped with a batch on its way goes on with that batch", "[train]") {
  const test::TempDir dir;
  test::write_tiny_cache(dir / "cache", 30);
  Training whole;
  StubCopies copies(whole.log);
  whole.run(dir / "cache", kSteps, &copies);
  Training cut;
  StubCopies first(cut.log);
  CHECK(cut.run(dir / "cache", kSteps, &first, 3) == 2 * 4);
  CHECK(cut.state.rows_seen == 2 * 3);
  StubCopies second(cut.log);
  cut.run(dir / "cache", kSteps, &second);
  REQUIRE(cut.state.tokens_seen == kSteps * kStepTokens);
  REQUIRE(test::bitwise_equal(whole.dictionary.weights(), cut.dictionary.weights()));
}

TEST_CASE("int8 activations cross beside their scales", "[train]") {
  for (const auto store : {data::StoreMode::kInputAndTarget, data::StoreMode::kInput}) {
    const test::TempDir dir;
    test::write_tiny_cache(dir / "cache", 30, Component::kAttention,
                           {.dtype = data::StoreDtype::kInt8, .store = store});
    Training training;
    StubCopies copies(training.log);
    {
      const HostReads reads;
      training.run(dir / "cache", kSteps, &copies);
      CHECK(reads.counted() == 0);
    }
    const int64_t activations = store == data::StoreMode::kInput ? 1 : 2;
    CHECK(copies.bytes == kSteps * kStepTokens * (activations * (kWidth + 4) + 1));
    Training on_host;
    on_host.run(dir / "cache", kSteps, nullptr);
    REQUIRE(test::bitwise_equal(training.dictionary.weights(), on_host.dictionary.weights()));
  }
}

TEST_CASE("targets that a cache does not hold are computed on the device", "[train]") {
  const test::TempDir dir;
  test::write_tiny_cache(dir / "cache", 30, Component::kAttention,
                         {.dtype = data::StoreDtype::kBFloat16, .store = data::StoreMode::kInput});
  Training training;
  StubCopies copies(training.log);
  {
    const HostReads reads;
    training.run(dir / "cache", kSteps, &copies);
    CHECK(reads.counted() == 0);
  }
  CHECK(copies.bytes == kSteps * kStepTokens * (2 * kWidth + 1));
  // The reader computes them where the device is the CPU: the counter sees it.
  Training on_host;
  const HostReads reads;
  on_host.run(dir / "cache", kSteps, nullptr);
  CHECK(reads.counted() >= kSteps * kStepTokens * 4 * kWidth);
  REQUIRE(test::bitwise_equal(training.dictionary.weights(), on_host.dictionary.weights()));
}
