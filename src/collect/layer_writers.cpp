#include "layer_writers.h"

#include <ATen/core/Tensor.h>

#include <chrono>

namespace lorsa::collect {
namespace {

/// Batches between model and disk: one being written, one waiting.
constexpr size_t kBatchesWaiting = 2;

at::Tensor on_cpu(const at::Tensor& tensor, at::ScalarType store_dtype) {
  return tensor.is_cpu() ? tensor : tensor.to(store_dtype).to(at::kCPU);
}

/// Adds the time of its life to `seconds`.
class AddedTime {
 public:
  explicit AddedTime(double& seconds) : seconds_(seconds) {}

  ~AddedTime() {
    seconds_ += std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  }

  AddedTime(const AddedTime&) = delete;
  AddedTime& operator=(const AddedTime&) = delete;

 private:
  double& seconds_;
  const std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

}  // namespace

LayerWriters::LayerWriters(std::vector<std::unique_ptr<data::CacheWriter>> writers,
                           at::ScalarType store_dtype)
    : writers_(std::move(writers)), store_dtype_(store_dtype), queue_(kBatchesWaiting) {
  thread_ = std::thread([this] { run(); });
}

LayerWriters::~LayerWriters() {
  queue_.abandon();
  if (thread_.joinable()) {
    thread_.join();
  }
}

void LayerWriters::run() {
  try {
    while (const std::optional<LayerBatch> batch = queue_.pop()) {
      append(*batch);
    }
  } catch (...) {
    error_ = std::current_exception();
    queue_.abandon();
  }
}

void LayerWriters::append(const LayerBatch& batch) {
  for (size_t i = 0; i < writers_.size(); ++i) {
    if (!writers_[i]->wants(batch.first_row)) {
      continue;
    }
    data::RowBlock rows = batch.blocks[i];
    rows.input_BTD = on_cpu(rows.input_BTD, store_dtype_);
    rows.target_BTD = on_cpu(rows.target_BTD, store_dtype_);
    writers_[i]->append_at(batch.first_row, rows);
  }
}

void LayerWriters::push(LayerBatch batch) {
  const AddedTime waiting(wait_s_);
  if (!queue_.push(std::move(batch))) {
    join();
  }
}

void LayerWriters::drain() {
  const AddedTime waiting(wait_s_);
  join();
}

void LayerWriters::join() {
  queue_.close();
  if (thread_.joinable()) {
    thread_.join();
  }
  if (error_) {
    std::rethrow_exception(error_);
  }
}

void LayerWriters::finish(int64_t num_rows) {
  const AddedTime waiting(wait_s_);
  join();
  for (const auto& writer : writers_) {
    writer->finish(num_rows);
  }
}

}  // namespace lorsa::collect
