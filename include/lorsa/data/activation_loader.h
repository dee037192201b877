#pragma once

#include <cstdint>
#include <memory>

#include "lorsa/core/api.h"
#include "lorsa/data/cache_reader.h"

namespace lorsa::data {

struct LoaderOptions {
  int64_t batch_rows = 4;  ///< rows of one batch on this rank
  uint64_t seed = 0;
  int64_t start_position =
      0;  ///< first element of the global order (rows already consumed by all ranks)
  int64_t rank = 0;
  int64_t world_size = 1;  ///< global batch b consists of the next batch_rows * world_size
                           ///< elements; rank r takes its r-th part
  int64_t depth = 3;       ///< batches read ahead
  int64_t num_threads = 1;
  bool pin_memory = false;  ///< batches in page-locked memory, for copies to a CUDA device
  BatchForm form = BatchForm::kReady;
};

/// Streams shuffled training rows out of a cache while the device computes.
///
/// Worker threads fill `depth` batches ahead; next() waits only when the disk is behind. The order
/// depends on (seed, position) alone (sampled_index over the training rows), so a loader started at
/// a saved position continues with the very next batch. One consumer thread. A failed read surfaces
/// in next(), naming file and row. A batch is the consumer's as long as it holds a tensor of it or
/// a view of one; then its memory is used again.
class LORSA_API ActivationLoader {
 public:
  ActivationLoader(const CacheReader& reader, const LoaderOptions& options);
  ~ActivationLoader();
  ActivationLoader(const ActivationLoader&) = delete;
  ActivationLoader& operator=(const ActivationLoader&) = delete;

  [[nodiscard]] Batch next();
  /// Elements of the global order consumed by batches handed out so far, start_position included.
  [[nodiscard]] int64_t position() const;
  /// Seconds that next() has waited in all.
  [[nodiscard]] double wait_s() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace lorsa::data
