#include "lorsa/data/activation_loader.h"

#include <algorithm>
#include <array>
#include <atomic>
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

/// Some batches' reading from memory; a disk takes longer, and then sleeping costs nothing.
constexpr std::chrono::microseconds kBriefly{300};

void check_options(const LoaderOptions& options) {
  const auto at_least = [](const char* name, int64_t value, int64_t low) {
    LORSA_CHECK(value >= low, ConfigError, "{}: expected >= {}, found {}", name, low, value);
  };
  at_least("batch_rows", options.batch_rows, 1);
  at_least("start_position", options.start_position, 0);
  at_least("world_size", options.world_size, 1);
  at_least("rank", options.rank, 0);
  at_least("depth", options.depth, 1);
  at_least("num_threads", options.num_threads, 1);
  LORSA_CHECK(options.rank < options.world_size, ConfigError,
              "loader: rank: expected below {}, found {}", options.world_size, options.rank);
}

std::array<const at::Tensor*, 8> tensors_of(const Batch& batch) {
  return {&batch.input_BTD, &batch.target_BTD, &batch.input_scale_BT, &batch.target_scale_BT,
          &batch.tokens_BT, &batch.scored_BT,  &batch.heldout_B,      &batch.document_B};
}

/// Memory of batches that the consumer is done with: fresh memory costs a page fault every 4 KiB,
/// as much as the reading itself.
class BatchPool {
 public:
  /// A batch for read_into(): one that nobody else holds any more, or a new one.
  Batch take(const CacheReader& reader, int64_t num_rows, BatchForm form) {
    const std::lock_guard<std::mutex> lock(mutex_);
    for (Batch& batch : lent_) {
      if (is_free(batch)) {
        std::swap(batch, lent_.back());
        Batch found = std::move(lent_.back());
        lent_.pop_back();
        return found;
      }
    }
    return reader.make_batch(num_rows, BatchMemory::kPageable, form);
  }

  /// Remembers a batch that is handed out.
  void lend(const Batch& batch) {
    const std::lock_guard<std::mutex> lock(mutex_);
    lent_.push_back(batch);
  }

 private:
  // The consumer may hold a tensor or a view of it.
  static bool is_free(const Batch& batch) {
    const auto tensors = tensors_of(batch);
    return std::all_of(tensors.begin(), tensors.end(), [](const at::Tensor* tensor) {
      return !tensor->defined() || (tensor->use_count() == 1 && tensor->storage().use_count() == 1);
    });
  }

  std::mutex mutex_;
  std::vector<Batch> lent_;
};

}  // namespace

struct ActivationLoader::Impl {
  Impl(const CacheReader& cache_reader, const LoaderOptions& loader_options)
      : reader(cache_reader), options(loader_options) {
    check_options(options);
    LORSA_CHECK(!reader.rows(Side::kTraining).empty(), FormatError,
                "{}: expected rows to train on, found only held-out ones", reader.folder());
    for (int64_t i = 0; i < std::min(options.num_threads, options.depth); ++i) {
      workers.emplace_back([this] { work(); });
    }
  }

  ~Impl() {
    {
      const std::lock_guard<std::mutex> lock(mutex);
      stopping = true;
    }
    room.notify_all();
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
      room.wait(lock, [this] { return stopping || claimed < consumed + options.depth; });
      if (stopping) {
        return;
      }
      const int64_t batch = claimed++;
      lock.unlock();
      Outcome outcome = read(batch);
      lock.lock();
      ready.emplace(batch, std::move(outcome));
      if (batch == consumed) {
        next_is_ready.store(true, std::memory_order_release);
        filled.notify_one();
      }
    }
  }

  using Outcome = std::variant<Batch, std::exception_ptr>;

  [[nodiscard]] Outcome read(int64_t batch) {
    try {
      // LibTorch gives pinned memory out again once copies out of it are done: the pool, which does
      // not know of copies, would refill it before.
      Batch result = options.pin_memory
                         ? reader.make_batch(options.batch_rows, BatchMemory::kPinned, options.form)
                         : pool.take(reader, options.batch_rows, options.form);
      reader.read_into(rows_of_batch(batch), result, options.form);
      if (options.pin_memory && result.target_BTD.defined()) {
        result.target_BTD = result.target_BTD.pin_memory();  // as it is if it is pinned already
      }
      if (!options.pin_memory) {
        pool.lend(result);
      }
      return result;
    } catch (...) {
      return std::current_exception();
    }
  }

  // To wake a thread that sleeps costs the worker 8 us, a tenth of a small batch: where a core is
  // free, next() sleeps only after it has looked for a batch for a while.
  void await_briefly() const {
    const auto deadline = std::chrono::steady_clock::now() + kBriefly;
    while (core_is_free && !next_is_ready.load(std::memory_order_acquire) &&
           std::chrono::steady_clock::now() < deadline) {
    }
  }

  Batch next() {
    const auto start = std::chrono::steady_clock::now();
    await_briefly();
    std::unique_lock<std::mutex> lock(mutex);
    filled.wait(lock, [this] { return ready.contains(consumed); });
    wait_s += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    const auto found = ready.find(consumed);
    if (const auto* error = std::get_if<std::exception_ptr>(&found->second)) {
      std::rethrow_exception(*error);  // stays in its place: the next call fails alike
    }
    Batch batch = std::get<Batch>(std::move(found->second));
    ready.erase(found);
    ++consumed;
    next_is_ready.store(ready.contains(consumed), std::memory_order_relaxed);
    lock.unlock();
    room.notify_one();
    return batch;
  }

  const CacheReader& reader;
  const LoaderOptions options;
  const bool core_is_free = options.num_threads < int64_t{std::thread::hardware_concurrency()};
  BatchPool pool;
  std::mutex mutex;
  std::condition_variable filled;  // the batch that next() waits for
  std::condition_variable room;    // for a worker to read one more
  std::map<int64_t, Outcome> ready;
  std::atomic<bool> next_is_ready{false};  // whether `ready` holds batch `consumed`
  int64_t claimed = 0;                     // batches that a worker has taken up
  int64_t consumed = 0;                    // batches that next() has handed out
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
