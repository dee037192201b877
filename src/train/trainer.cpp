#include "lorsa/train/trainer.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <chrono>

#include "core/clock.h"

namespace lorsa::train {
namespace {

// True when a step from `before` to `after` tokens passes a multiple of `every`.
bool passes(int64_t before, int64_t after, int64_t every) {
  return before / every != after / every;
}

}  // namespace

Trainer::Trainer(const Schedule& schedule, Parts parts, Hooks hooks)
    : schedule_(schedule), parts_(parts), hooks_(std::move(hooks)) {
  const data::Manifest& manifest = parts_.cache.manifest();
  input_scale_ = data::normalization_scale(manifest.input_stats, manifest.d_model);
  target_scale_ = data::normalization_scale(manifest.target_stats, manifest.d_model);
  target_mean_D_ =
      (at::tensor(manifest.target_mean, at::kDouble) * target_scale_).to(parts_.device, at::kFloat);
}

bool Trainer::run() {
  const TrainerState& first = parts_.learners.front().state();
  window_start_s_ = now_s();
  while (first.tokens_seen < schedule_.tokens) {
    const double start_s = now_s();
    const TrainingBatch batch = next_batch();
    const int64_t before = first.tokens_seen;
    double loss = 0.0;
    for (Learner& learner : parts_.learners) {
      const double own_loss = learner.step(batch);
      loss = &learner == &parts_.learners.front() ? own_loss : loss;
      learner.state().rows_seen = parts_.loader.position();
    }
    for (Learner& learner : parts_.learners) {
      learner.state().train_seconds += now_s() - start_s;
    }
    const int64_t after = first.tokens_seen;
    if (hooks_.step_done) {
      hooks_.step_done(after, loss);
    }
    const bool finished = after >= schedule_.tokens;
    if (passes(before, after, schedule_.log_every_tokens) || finished) {
      write_metrics();
    }
    const bool stop = stop_requested() && !finished;
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

bool Trainer::stop_requested() {
  const bool own = hooks_.stop_requested && hooks_.stop_requested();
  if (parts_.communicator.world_size() == 1) {
    return own;
  }
  const at::Tensor any = at::tensor({own ? int64_t{1} : int64_t{0}}, at::kLong).to(parts_.device);
  parts_.communicator.all_reduce_max(any);
  return any.item<int64_t>() > 0;
}

TrainingBatch Trainer::next_batch() {
  const double waited_s = parts_.loader.wait_s();
  const data::Batch batch = parts_.loader.next();
  data_wait_s_ += parts_.loader.wait_s() - waited_s;
  TrainingBatch out;
  out.target_BTD = batch.target_BTD.to(parts_.device, at::kFloat) * target_scale_;
  const bool input_is_read = std::ranges::any_of(parts_.learners, [](const Learner& learner) {
    return model::kind_info(learner.dictionary().shape().kind).reads == model::Hook::kInput;
  });
  if (input_is_read) {
    out.input_BTD = batch.input_BTD.to(parts_.device, at::kFloat) * input_scale_;
  }
  out.scored_BT = batch.scored_BT.to(parts_.device);
  const at::Tensor deviation_BT = (out.target_BTD - target_mean_D_).square().sum(-1);
  out.squared_deviation = (deviation_BT * out.scored_BT).sum(at::kDouble);
  out.num_scored = batch.scored_BT.sum().item<int64_t>();
  out.num_tokens = batch.scored_BT.numel() * parts_.communicator.world_size();
  if (parts_.communicator.world_size() > 1) {
    const at::Tensor count = at::tensor({out.num_scored}, at::kLong).to(parts_.device);
    parts_.communicator.all_reduce_sum(count);
    out.num_scored = count.item<int64_t>();
  }
  return out;
}

void Trainer::write_metrics() {
  const double elapsed_s = now_s() - window_start_s_;
  for (size_t i = 0; i < parts_.learners.size(); ++i) {
    const std::string line = parts_.learners[i].take_metrics(data_wait_s_, elapsed_s);
    if (hooks_.metrics_line) {
      hooks_.metrics_line(i, line);
    }
  }
  data_wait_s_ = 0.0;
  window_start_s_ = now_s();
}

}  // namespace lorsa::train
