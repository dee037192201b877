#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "lorsa/core/api.h"
#include "lorsa/model/dictionary.h"

namespace lorsa::train {

/// Adam's moments, one pair per weight, and its step count.
struct OptimizerState {
  model::DictionaryWeights first_moment;
  model::DictionaryWeights second_moment;
  int64_t steps = 0;
};

/// Zero moments for `weights`.
[[nodiscard]] LORSA_API OptimizerState fresh_optimizer(const model::DictionaryWeights& weights);

/// Sums since the last line of metrics.jsonl, over all ranks.
struct MetricWindow {
  double squared_error = 0.0;
  double squared_deviation = 0.0;  ///< of the target from the cache's mean
  double penalty = 0.0;            ///< sums over steps of what they add to the loss
  double auxiliary_loss = 0.0;
  int64_t num_scored = 0;
  int64_t num_active = 0;
  double grad_norm = 0.0;
  int64_t steps = 0;
  int64_t tokens = 0;
};

/// All that a run needs to go on exactly where it stopped, beside the weights.
struct TrainerState {
  int64_t tokens_seen = 0;     ///< all tokens of the batches, scored or not, over all ranks
  int64_t rows_seen = 0;       ///< position in the sampler's order
  double train_seconds = 0.0;  ///< over all sessions
  at::Tensor last_active_H;    ///< int64: tokens_seen when the head last acted
  double threshold_sum = 0.0;  ///< of StepResult::threshold where it was measured
  int64_t threshold_count = 0;
  OptimizerState optimizer;
  MetricWindow window;
};

}  // namespace lorsa::train
