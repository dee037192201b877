#pragma once

#include <ATen/core/Tensor.h>

#include <optional>

#include "lorsa/core/async_copies.h"
#include "lorsa/data/activation_loader.h"
#include "lorsa/data/cache_reader.h"
#include "lorsa/dist/communicator.h"
#include "lorsa/kernels/mhsa.h"
#include "lorsa/train/learner.h"

namespace lorsa::train {

/// Sequences of T positions whose targets are recomputed at a time.
[[nodiscard]] int64_t recomputed_sequences(int64_t context_length);

/// A loader's batches as steps take them: on the device, scaled, counted over all ranks.
///
/// With copies beside the device's work a batch crosses once, as it is stored; all else is computed
/// there. The host then touches no activation and waits for nothing but the loader.
class BatchQueue {
 public:
  /// Borrowed for the queue's life.
  struct Parts {
    const data::CacheReader& cache;
    data::ActivationLoader& loader;
    dist::Communicator& communicator;
    c10::Device device;
    AsyncCopies* copies = nullptr;  ///< null: the loader's tensors are on the device
    bool reads_input = true;        ///< whether a learner does
  };

  explicit BatchQueue(const Parts& parts);

  /// Takes the batch after the last one taken from the loader and begins its copies.
  void fetch();

  /// The fetched batch, or the next where none is. Sums its count over ranks unless it is set.
  [[nodiscard]] TrainingBatch take();

  /// Scored positions of the fetched batch on this rank, 0 where none is.
  [[nodiscard]] int64_t own_scored() const { return fetched_ ? fetched_->own_scored : 0; }

  /// Of the fetched batch, on all ranks.
  void set_scored(int64_t num_scored);

  /// ActivationLoader::position() behind the last batch taken.
  [[nodiscard]] int64_t position() const { return position_; }

  /// Seconds of waiting for the loader since the last call.
  [[nodiscard]] double take_wait_s();

 private:
  /// Values as a data::Batch has them.
  struct Activations {
    at::Tensor values_BTD;
    at::Tensor scale_BT;  ///< of int8

    [[nodiscard]] Activations rows(int64_t first, int64_t count) const;
    /// In float32 times `factor`.
    [[nodiscard]] at::Tensor times(double factor) const;
  };

  struct Fetched {
    Activations input, target;  ///< with copies theirs
    at::Tensor scored_BT;
    int64_t own_scored = 0;
    std::optional<int64_t> num_scored;  ///< of all ranks
    int64_t position = 0;
  };

  [[nodiscard]] at::Tensor recomputed(const Activations& input) const;

  Parts parts_;
  double input_scale_;
  double target_scale_;
  at::Tensor target_mean_D_;
  std::optional<kernels::Mhsa> attention_;  ///< on the device, where targets are recomputed there
  std::optional<Fetched> fetched_;
  int64_t position_;
  double wait_s_ = 0.0;
};

}  // namespace lorsa::train
