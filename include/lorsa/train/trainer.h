#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "lorsa/data/activation_loader.h"
#include "lorsa/data/cache_reader.h"
#include "lorsa/model/lorsa.h"
#include "lorsa/train/config.h"

namespace lorsa::train {

/// Adam's moments, one pair per weight, and its step count.
struct OptimizerState {
  model::LorsaWeights first_moment;
  model::LorsaWeights second_moment;
  int64_t steps = 0;
};

/// Sums since the last line of metrics.jsonl.
struct MetricWindow {
  double squared_error = 0.0;
  double squared_deviation = 0.0;  ///< of the target from the cache's mean
  int64_t num_scored = 0;
  int64_t num_active = 0;
  double grad_norm = 0.0;
  int64_t steps = 0;
  int64_t tokens = 0;
};

/// All that a run needs to go on exactly where it stopped.
struct TrainerState {
  int64_t tokens_seen = 0;     ///< all tokens of the batches, scored or not
  int64_t rows_seen = 0;       ///< position in the sampler's order
  double train_seconds = 0.0;  ///< over all sessions
  at::Tensor last_active_H;    ///< int64: tokens_seen when the head last acted
  OptimizerState optimizer;
  MetricWindow window;
};

/// Where step times go; wall seconds since the last line of metrics.jsonl.
struct StepTimes {
  double data_wait_s = 0.0;
  double model_s = 0.0;
  double optimizer_s = 0.0;
};

/// The training loop of one Lorsa on one cache (design section 7).
///
/// The parts are borrowed for the trainer's life. On the CPU a run that is stopped and resumed ends
/// bitwise equal to one that was not (same build, same thread count).
class Trainer {
 public:
  struct Parts {
    model::Lorsa& lorsa;
    const data::CacheReader& cache;
    data::ActivationLoader& loader;
    TrainerState& state;
  };

  /// What the caller does around the steps; any may be empty.
  struct Hooks {
    std::function<void(const std::string&)>
        metrics_line;                  ///< one JSON object, every log.every_tokens
    std::function<void()> checkpoint;  ///< every checkpoint.every_tokens
    std::function<void(int64_t, double)>
        step_done;  ///< after every step: tokens seen, the step's mean squared error
    std::function<bool()> stop_requested;  ///< asked after every step
  };

  Trainer(const RunConfig& config, Parts parts, Hooks hooks);

  /// Trains until the token budget is reached or a stop is requested; true if the budget was
  /// reached. Throws Error, weights untouched by that step, if the loss or a gradient is not
  /// finite.
  bool run();

 private:
  struct Prepared {
    at::Tensor input_BTD, target_BTD, scored_BT;
    double grad_scale;
    int64_t num_scored;
    int64_t num_tokens;
  };

  Prepared next_batch();
  void apply(model::StepResult& step, const Prepared& batch);
  void account(const model::StepResult& step, const Prepared& batch, double grad_norm);
  void write_metrics(int64_t top_k, double learning_rate);

  const RunConfig& config_;
  Parts parts_;
  Hooks hooks_;
  double input_scale_;
  double target_scale_;
  at::Tensor target_mean_D_;
  StepTimes times_;
  double window_start_s_ = 0.0;
};

/// Zero moments for `weights`.
[[nodiscard]] OptimizerState fresh_optimizer(const model::LorsaWeights& weights);

}  // namespace lorsa::train
