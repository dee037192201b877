#pragma once

#include <ATen/core/Tensor.h>

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "lorsa/core/api.h"
#include "lorsa/dist/communicator.h"
#include "lorsa/model/dictionary.h"
#include "lorsa/train/config.h"
#include "lorsa/train/state.h"

namespace lorsa {
class DeviceClock;
}

namespace lorsa::train {

/// One batch, scaled and on the device: this rank's rows of it.
struct TrainingBatch {
  at::Tensor input_BTD;  ///< the layer's; what reads the target (an SAE) does not look at it
  at::Tensor target_BTD, scored_BT;
  at::Tensor squared_deviation;  ///< float64 []: this rank's scored targets from the cache's mean
  int64_t num_scored = 0;        ///< of all ranks
  int64_t num_tokens = 0;        ///< of all ranks
};

/// One Lorsa in training: turns batches into steps.
///
/// With several ranks each computes its rows; gradients, counts and losses are summed before
/// anything is divided, so all ranks take the same step. The sum of a gradient begins as soon as
/// the backward pass has made it.
class LORSA_API Learner {
 public:
  struct Settings {
    RunConfig::Train train;
    RunConfig::Log log;
    bool in_bfloat16 = false;
  };

  /// The parts are borrowed for the learner's life.
  struct Parts {
    model::Dictionary& dictionary;
    TrainerState& state;
    dist::Communicator& communicator;
    int64_t micro_batch_sequences = 0;  ///< computed at a time; 0: all
  };

  Learner(const Settings& settings, Parts parts);
  Learner(Learner&&) noexcept;
  ~Learner();

  /// Forward, backward, reduce, finite?, clip, Adam, counters. Returns the batch's mean squared
  /// error. Throws Error, weights untouched by this step, if the loss or a gradient is not finite.
  /// `shared` are numbers of the caller's, replaced by their sums over ranks: the step's own small
  /// numbers and these travel in one collective.
  double step(const TrainingBatch& batch, std::span<double> shared = {});

  /// What the steps since the last call came to, as one JSON object; begins a new window.
  /// data_wait_s is the caller's time in that window, elapsed_s the window's length.
  [[nodiscard]] std::string take_metrics(double data_wait_s, double elapsed_s);

  [[nodiscard]] TrainerState& state() { return parts_.state; }

  [[nodiscard]] const model::Dictionary& dictionary() const { return parts_.dictionary; }

 private:
  /// Sums over the batch's parts and over ranks.
  struct Sums {
    /// On the device, in the order of the six below and `shared`, which read() copies at once with
    /// others.
    at::Tensor numbers;
    double squared_error = 0.0;
    double penalty = 0.0;
    double auxiliary_loss = 0.0;
    double threshold = 0.0;
    int64_t num_active = 0;
    double squared_deviation = 0.0;
    std::span<double> shared;  ///< the caller's, with several ranks
    at::Tensor first_invalid;  ///< as kernels::TopK has it, of the first part that has one
    int64_t num_dead = 0;      ///< heads that AuxK finds dead at the next step
    at::Tensor active_H;
    model::DictionaryWeights gradients;
    model::DictionaryWeights squares;  ///< float64 [1] each, of the gradients that are measured
  };

  /// A sum over ranks.
  struct UnderWay {
    std::string gradient;  ///< empty: the small numbers
    dist::Work work;
  };

  /// Of a step's time.
  enum Part : size_t {
    kBetweenSteps,
    kModel,          ///< forward and backward; with ranks the sums run beside it
    kCommunication,  ///< waiting for other ranks
    kOptimizer,
    kNumParts
  };

  /// The heads that AuxK reconstructs with, ascending. Waits for the device at the first step only:
  /// how many there are is among the numbers of the step before.
  [[nodiscard]] at::Tensor dead_heads();
  /// With AuxK: Adam's moments of a head become 0 when it is found dead, and again every
  /// dead_after_tokens while it is. Its second moments still hold the gradients of the time it
  /// died, often the first and largest ones, which keep AuxK's from moving it (docs/benchmarks.md).
  void forget_dead_moments(const TrainingBatch& batch, const at::Tensor& dead_heads);
  /// Tokens since each head acted.
  [[nodiscard]] at::Tensor silent_tokens_H() const;
  [[nodiscard]] model::StepOptions options_for(const TrainingBatch& batch,
                                               const at::Tensor& dead_heads) const;
  [[nodiscard]] Sums compute(const TrainingBatch& batch,
                             const model::StepOptions& options,
                             std::span<double> shared);
  /// Numbers and active heads of all ranks, once it has been waited for and unpack() called.
  [[nodiscard]] dist::Work begin_sums(Sums& sums) const;
  static void unpack(Sums& sums);
  /// Squares one gradient, with unit_decoder W_O's without what would change lengths. With ranks as
  /// soon as it is summed, while those behind it are: the last has no product left beside it.
  void measure(const std::string& name, Sums& sums) const;
  /// A step's one copy to the host: fills the sums' numbers and returns the norm of the gradients.
  /// Throws where a score was no number.
  [[nodiscard]] double read(Sums& sums, const TrainingBatch& batch) const;
  void apply(Sums& sums, const TrainingBatch& batch);
  void account(const Sums& sums, const TrainingBatch& batch, double grad_norm);
  [[nodiscard]] bool measures_threshold(const TrainingBatch& batch) const;

  Settings settings_;
  Parts parts_;
  model::DictionaryWeights bfloat16_weights_;  // undefined but for bfloat16 compute
  std::optional<int64_t> num_dead_;            // heads, once a step has counted them
  std::unique_ptr<DeviceClock> clock_;
};

}  // namespace lorsa::train
