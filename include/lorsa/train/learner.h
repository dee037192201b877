#pragma once

#include <ATen/core/Tensor.h>

#include <span>
#include <string>
#include <vector>

#include "lorsa/core/api.h"
#include "lorsa/dist/communicator.h"
#include "lorsa/model/dictionary.h"
#include "lorsa/train/config.h"
#include "lorsa/train/state.h"

namespace lorsa::train {

/// One batch, scaled and on the device: this rank's rows of it.
struct TrainingBatch {
  at::Tensor input_BTD;  ///< the layer's; what reads the target (an SAE) does not look at it
  at::Tensor target_BTD, scored_BT;
  at::Tensor squared_deviation;  ///< float64 []: this rank's scored targets from the cache's mean
  int64_t num_scored = 0;        ///< of all ranks
  int64_t num_tokens = 0;        ///< of all ranks
};

/// Where the time since the last line of metrics.jsonl went, in wall seconds.
struct StepTimes {
  double model_s = 0.0;          ///< forward and backward; with ranks the sums run beside it
  double communication_s = 0.0;  ///< waiting for other ranks
  double optimizer_s = 0.0;
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
    /// On the device, in the order of the six below and `shared`, which apply() reads in one copy.
    at::Tensor numbers;
    double squared_error = 0.0;
    double penalty = 0.0;
    double auxiliary_loss = 0.0;
    double threshold = 0.0;
    int64_t num_active = 0;
    double squared_deviation = 0.0;
    std::span<double> shared;  ///< the caller's, with several ranks
    at::Tensor active_H;
    model::DictionaryWeights gradients;
    double waited_s = 0.0;  ///< for other ranks, while gradients were summed
    double read_s = 0.0;    ///< until the device had computed what apply() reads
  };

  /// With AuxK: Adam's moments of a head become 0 when it is found dead, and again every
  /// dead_after_tokens while it is. Its second moments still hold the gradients of the time it
  /// died, often the first and largest ones, which keep AuxK's from moving it (docs/benchmarks.md).
  void forget_dead_moments(const TrainingBatch& batch);
  /// Tokens since each head acted.
  [[nodiscard]] at::Tensor silent_tokens_H() const;
  [[nodiscard]] model::StepOptions options_for(const TrainingBatch& batch) const;
  [[nodiscard]] Sums compute(const TrainingBatch& batch, std::span<double> shared);
  /// Numbers and active heads of all ranks, once the works have been waited for and unpack()
  /// called.
  void begin_sums(Sums& sums, std::vector<dist::Work>& under_way) const;
  static void unpack(Sums& sums);
  /// One copy to the host: fills the sums from `numbers`, theirs and the squares of the gradients,
  /// and returns the sum of those.
  [[nodiscard]] double read(const std::vector<at::Tensor>& numbers, Sums& sums) const;
  void apply(Sums& sums, const TrainingBatch& batch);
  void account(const Sums& sums, const TrainingBatch& batch, double grad_norm);
  [[nodiscard]] bool measures_threshold(const TrainingBatch& batch) const;

  Settings settings_;
  Parts parts_;
  model::DictionaryWeights bfloat16_weights_;  // undefined but for bfloat16 compute
  StepTimes times_;
};

}  // namespace lorsa::train
