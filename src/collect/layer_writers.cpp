#include "layer_writers.h"

#include <ATen/core/Tensor.h>
#include <ATen/ops/slice.h>

#include <algorithm>

namespace lorsa::collect {
namespace {

/// Batches between model and disk: one being written, one waiting.
constexpr size_t kBatchesWaiting = 2;

at::Tensor on_cpu(const at::Tensor& tensor, at::ScalarType store_dtype) {
  return tensor.is_cpu() ? tensor : tensor.to(store_dtype).to(at::kCPU);
}

/// The rows of `block` from `first` on.
data::RowBlock rows_from(const data::RowBlock& block, int64_t first) {
  data::RowBlock rest;
  rest.input_BTD = block.input_BTD.slice(0, first);
  rest.target_BTD = block.target_BTD.slice(0, first);
  rest.tokens_BT = block.tokens_BT.slice(0, first);
  rest.scored_BT = block.scored_BT.slice(0, first);
  rest.document.assign(block.document.begin() + first, block.document.end());
  rest.heldout.assign(block.heldout.begin() + first, block.heldout.end());
  return rest;
}

}  // namespace

LayerWriters::LayerWriters(std::vector<std::unique_ptr<data::CacheWriter>> writers,
                           at::ScalarType store_dtype)
    : writers_(std::move(writers)), store_dtype_(store_dtype), queue_(kBatchesWaiting) {
  for (const auto& writer : writers_) {
    rows_done_.push_back(writer->num_rows());
  }
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
    const data::RowBlock& block = batch.blocks[i];
    const auto num_rows = static_cast<int64_t>(block.document.size());
    const int64_t first = std::clamp<int64_t>(rows_done_[i] - batch.first_row, 0, num_rows);
    if (first == num_rows) {
      continue;
    }
    data::RowBlock rows = rows_from(block, first);
    rows.input_BTD = on_cpu(rows.input_BTD, store_dtype_);
    rows.target_BTD = on_cpu(rows.target_BTD, store_dtype_);
    writers_[i]->append(rows);
  }
}

void LayerWriters::push(LayerBatch batch) {
  if (!queue_.push(std::move(batch))) {
    drain();
  }
}

void LayerWriters::drain() {
  queue_.close();
  if (thread_.joinable()) {
    thread_.join();
  }
  if (error_) {
    std::rethrow_exception(error_);
  }
}

void LayerWriters::finish() {
  drain();
  for (const auto& writer : writers_) {
    writer->finish();
  }
}

}  // namespace lorsa::collect
