#include "lorsa/train/trainer.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "core/clock.h"
#include "train/batch_queue.h"

namespace lorsa::train {
namespace {

// True when a step from `before` to `after` tokens passes a multiple of `every`.
bool passes(int64_t before, int64_t after, int64_t every) {
  return before / every != after / every;
}

}  // namespace

Trainer::Trainer(const Schedule& schedule, Parts parts, Hooks hooks)
    : schedule_(schedule), parts_(parts), hooks_(std::move(hooks)) {
  const bool reads_input = std::ranges::any_of(parts_.learners, [](const Learner& learner) {
    return model::kind_info(learner.dictionary().shape().kind).reads == model::Hook::kInput;
  });
  queue_ = std::make_unique<BatchQueue>(BatchQueue::Parts{
      parts_.cache, parts_.loader, parts_.communicator, parts_.device, parts_.copies, reads_input});
}

Trainer::~Trainer() = default;

bool Trainer::run() {
  const TrainerState& first = parts_.learners.front().state();
  const bool several_ranks = parts_.communicator.world_size() > 1;
  // Copies run beside the step; what ranks count of the next batch travels with this one's sums.
  const bool a_batch_ahead = parts_.copies != nullptr || several_ranks;
  window_start_s_ = now_s();
  while (first.tokens_seen < schedule_.tokens) {
    const double start_s = now_s();
    const TrainingBatch batch = queue_->take();
    const int64_t before = first.tokens_seen;
    const int64_t after = before + batch.num_tokens;
    const bool finished = after >= schedule_.tokens;
    if (a_batch_ahead && !finished) {
      queue_->fetch();
    }
    const StepResult step = step_all(batch);
    for (Learner& learner : parts_.learners) {
      learner.state().train_seconds += now_s() - start_s;
    }
    if (hooks_.step_done) {
      hooks_.step_done(after, step.loss);
    }
    if (passes(before, after, schedule_.log_every_tokens) || finished) {
      write_metrics();
    }
    const bool stop = (several_ranks ? step.stops_on_all : own_stop()) && !finished;
    if (hooks_.checkpoint &&
        (stop || finished || passes(before, after, schedule_.checkpoint_every_tokens))) {
      hooks_.checkpoint();
    }
    if (stop) {
      return false;
    }
  }
  return true;
}

Trainer::StepResult Trainer::step_all(const TrainingBatch& batch) {
  const bool several_ranks = parts_.communicator.world_size() > 1;
  StepResult result;
  for (Learner& learner : parts_.learners) {
    std::vector<double> shared;
    if (several_ranks && &learner == &parts_.learners.back()) {
      shared = {own_stop() ? 1.0 : 0.0, static_cast<double>(queue_->own_scored())};
    }
    const double loss = learner.step(batch, shared);
    result.loss = &learner == &parts_.learners.front() ? loss : result.loss;
    learner.state().rows_seen = queue_->position();
    if (!shared.empty()) {
      result.stops_on_all = shared[0] > 0.0;
      queue_->set_scored(std::llround(shared[1]));
    }
  }
  return result;
}

bool Trainer::own_stop() const {
  return hooks_.stop_requested && hooks_.stop_requested();
}

void Trainer::write_metrics() {
  const double elapsed_s = now_s() - window_start_s_;
  const double data_wait_s = queue_->take_wait_s();
  for (size_t i = 0; i < parts_.learners.size(); ++i) {
    const std::string line = parts_.learners[i].take_metrics(data_wait_s, elapsed_s);
    if (hooks_.metrics_line) {
      hooks_.metrics_line(i, line);
    }
  }
  window_start_s_ = now_s();
}

}  // namespace lorsa::train
