#include "lorsa/data/activation_loader.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <map>
#include <mutex>
#include <thread>
#include <utility>
#include <variant>
#include <vector>

#include "lorsa/core/error.h"
#include "lorsa/data/sampler.h"

namespace lorsa::data {
namespace {

void check_options(const LoaderOptions& options) {
  const auto at_least = [](const char* name, int64_t value, int64_t low) {
    LORSA_CHECK(
        value >= low, ConfigError, "loader: ", name, ": expected >= ", low, ", found ", value);
  };
  at_least("batch_rows", options.batch_rows, 1);
  at_least("start_position", options.start_position, 0);
  at_least("world_size", options.world_size, 1);
  at_least("rank", options.rank, 0);
  at_least("depth", options.depth, 1);
  at_least("num_threads", options.num_threads, 1);
  LORSA_CHECK(options.rank < options.world_size,
              ConfigError,
              "loader: rank: expected below world_size = ",
              options.world_size,
              ", found ",
              options.rank);
}

Batch pinned(Batch batch) {
  for (at::Tensor* tensor : {&batch.input_BTD,
                             &batch.target_BTD,
                             &batch.tokens_BT,
                             &batch.scored_BT,
                             &batch.heldout_B,
                             &batch.document_B}) {
    *tensor = tensor->pin_memory();
  }
  return batch;
}

}  // namespace

struct ActivationLoader::Impl {
  Impl(const CacheReader& cache_reader, const LoaderOptions& loader_options)
      : reader(cache_reader), options(loader_options) {
    check_options(options);
    LORSA_CHECK(!reader.rows(Side::kTraining).empty(),
                FormatError,
                reader.folder().string(),
                ": expected rows to train on, found only held-out ones");
    for (int64_t i = 0; i < std::min(options.num_threads, options.depth); ++i) {
      workers.emplace_back([this] { work(); });
    }
  }

  ~Impl() {
    {
      const std::lock_guard<std::mutex> lock(mutex);
      stopping = true;
    }
    changed.notify_all();
    for (std::thread& worker : workers) {
      worker.join();
    }
  }

  [[nodiscard]] int64_t rows_per_step() const { return options.batch_rows * options.world_size; }

  [[nodiscard]] std::vector<int64_t> rows_of_batch(int64_t batch) const {
    const std::vector<int64_t>& training = reader.rows(Side::kTraining);
    const int64_t first =
        options.start_position + batch * rows_per_step() + options.rank * options.batch_rows;
    std::vector<int64_t> rows;
    for (int64_t i = 0; i < options.batch_rows; ++i) {
      const int64_t index =
          sampled_index(first + i, static_cast<int64_t>(training.size()), options.seed);
      rows.push_back(training[static_cast<size_t>(index)]);
    }
    return rows;
  }

  // Claims the next batch while at most `depth` are ahead of the consumer, reads it, hands it over.
  void work() {
    std::unique_lock<std::mutex> lock(mutex);
    for (;;) {
      changed.wait(lock, [this] { return stopping || claimed < consumed + options.depth; });
      if (stopping) {
        return;
      }
      const int64_t batch = claimed++;
      lock.unlock();
      Outcome outcome = read(batch);
      lock.lock();
      ready.emplace(batch, std::move(outcome));
      changed.notify_all();
    }
  }

  using Outcome = std::variant<Batch, std::exception_ptr>;

  [[nodiscard]] Outcome read(int64_t batch) const {
    try {
      Batch result = reader.read(rows_of_batch(batch));
      return options.pin_memory ? pinned(std::move(result)) : std::move(result);
    } catch (...) {
      return std::current_exception();
    }
  }

  Batch next() {
    const auto start = std::chrono::steady_clock::now();
    std::unique_lock<std::mutex> lock(mutex);
    changed.wait(lock, [this] { return ready.contains(consumed); });
    wait_s += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    const auto found = ready.find(consumed);
    if (const auto* error = std::get_if<std::exception_ptr>(&found->second)) {
      std::rethrow_exception(*error);  // stays in its place: the next call fails alike
    }
    Batch batch = std::get<Batch>(std::move(found->second));
    ready.erase(found);
    ++consumed;
    lock.unlock();
    changed.notify_all();
    return batch;
  }

  const CacheReader& reader;
  const LoaderOptions options;
  std::mutex mutex;
  std::condition_variable changed;
  std::map<int64_t, Outcome> ready;
  int64_t claimed = 0;   // batches that a worker has taken up
  int64_t consumed = 0;  // batches that next() has handed out
  bool stopping = false;
  double wait_s = 0.0;
  std::vector<std::thread> workers;
};

ActivationLoader::ActivationLoader(const CacheReader& reader, const LoaderOptions& options)
    : impl_(std::make_unique<Impl>(reader, options)) {}

ActivationLoader::~ActivationLoader() = default;

Batch ActivationLoader::next() {
  return impl_->next();
}

// Only the consumer changes what these two read.
int64_t ActivationLoader::position() const {
  return impl_->options.start_position + impl_->consumed * impl_->rows_per_step();
}

double ActivationLoader::wait_s() const {
  return impl_->wait_s;
}

}  // namespace lorsa::data
