#pragma once

#include <ATen/core/Tensor.h>

#include <exception>
#include <memory>
#include <thread>
#include <vector>

#include "bounded_queue.h"
#include "lorsa/data/cache_writer.h"

namespace lorsa::collect {

/// One batch of all open layers: block i belongs to layer i.
struct LayerBatch {
  int64_t first_row = 0;
  std::vector<data::RowBlock> blocks;
};

/// Writes the caches of several layers on a thread of its own, two batches behind the model.
///
/// Layers may differ in the shards that are finished already: what a layer has is not written
/// again. An error of the thread is thrown by the next push(), drain() or finish().
class LayerWriters {
 public:
  /// `store_dtype`: what CUDA tensors become before they are copied, which halves the copy.
  LayerWriters(std::vector<std::unique_ptr<data::CacheWriter>> writers, at::ScalarType store_dtype);
  ~LayerWriters();
  LayerWriters(const LayerWriters&) = delete;
  LayerWriters& operator=(const LayerWriters&) = delete;

  void push(LayerBatch batch);
  /// Waits until everything pushed is written; nothing can be pushed afterwards.
  void drain();
  /// drain(), then CacheWriter::finish() of every cache.
  void finish(int64_t num_rows);

  /// Seconds that push(), drain() and finish() have taken: what the model waited for.
  [[nodiscard]] double wait_s() const { return wait_s_; }

 private:
  void run();
  void append(const LayerBatch& batch);
  void join();

  std::vector<std::unique_ptr<data::CacheWriter>> writers_;
  const at::ScalarType store_dtype_;
  double wait_s_ = 0.0;
  std::exception_ptr error_;  ///< set by the thread before it ends, read after join()
  BoundedQueue<LayerBatch> queue_;
  std::thread thread_;
};

}  // namespace lorsa::collect
