#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "lorsa/core/api.h"
#include "lorsa/core/async_copies.h"
#include "lorsa/data/activation_loader.h"
#include "lorsa/data/cache_reader.h"
#include "lorsa/dist/communicator.h"
#include "lorsa/train/learner.h"

namespace lorsa::train {

class BatchQueue;

/// The training loop of one or more Lorsas on one stream of batches.
///
/// The parts are borrowed for the trainer's life. On the CPU a run that is stopped and resumed ends
/// bitwise equal to one that was not (same build, same thread count).
class LORSA_API Trainer {
 public:
  struct Parts {
    const data::CacheReader& cache;
    data::ActivationLoader& loader;
    dist::Communicator& communicator;
    std::vector<Learner>& learners;  ///< one or more, of equal tokens_seen
    c10::Device device;
    AsyncCopies* copies = nullptr;  ///< make_async_copies(device)
  };

  /// What the caller does around the steps; any may be empty.
  struct Hooks {
    /// Learner and one JSON object, every log_every_tokens.
    std::function<void(size_t, const std::string&)> metrics_line;
    /// Every checkpoint_every_tokens, at the end and before a stop.
    std::function<void()> checkpoint;
    /// After every step of all learners: tokens seen, the first one's mean squared error.
    std::function<void(int64_t, double)> step_done;
    /// Asked once a step; any rank's yes stops all.
    std::function<bool()> stop_requested;
  };

  /// How long, and how often what is called; of the tokens of all ranks.
  struct Schedule {
    int64_t tokens = 0;
    int64_t log_every_tokens = 0;
    int64_t checkpoint_every_tokens = 0;
  };

  Trainer(const Schedule& schedule, Parts parts, Hooks hooks);
  ~Trainer();
  Trainer(const Trainer&) = delete;
  Trainer& operator=(const Trainer&) = delete;

  /// Trains until the token budget is reached or a stop is requested; true if the budget was
  /// reached. Throws as Learner::step().
  bool run();

 private:
  struct StepResult {
    double loss = 0.0;          ///< the first learner's
    bool stops_on_all = false;  ///< a rank has asked for it, found by the sums of several
  };

  [[nodiscard]] StepResult step_all(const TrainingBatch& batch);
  void write_metrics();
  [[nodiscard]] bool own_stop() const;

  Schedule schedule_;
  Parts parts_;
  Hooks hooks_;
  std::unique_ptr<BatchQueue> queue_;
  double window_start_s_ = 0.0;
};

}  // namespace lorsa::train
