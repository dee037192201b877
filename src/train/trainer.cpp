#include "lorsa/train/trainer.h"

#include <ATen/ATen.h>

#include <chrono>
#include <cmath>

#include "lorsa/core/error.h"
#include "lorsa/io/json.h"
#include "lorsa/kernels/adam.h"

namespace lorsa::train {
namespace {

double now_s() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// True when a step from `before` to `after` tokens passes a multiple of `every`.
bool passes(int64_t before, int64_t after, int64_t every) {
  return before / every != after / every;
}

}  // namespace

OptimizerState fresh_optimizer(const model::LorsaWeights& weights) {
  OptimizerState state;
  state.first_moment = weights;
  state.second_moment = weights;
  for (model::LorsaWeights* moments : {&state.first_moment, &state.second_moment}) {
    for (const auto& [name, tensor] : moments->named()) {
      *tensor = at::zeros_like(*tensor);
    }
  }
  return state;
}

Trainer::Trainer(const RunConfig& config, Parts parts, Hooks hooks)
    : config_(config), parts_(parts), hooks_(std::move(hooks)) {
  const data::Manifest& manifest = parts_.cache.manifest();
  input_scale_ = data::normalization_scale(manifest.input_stats, manifest.d_model);
  target_scale_ = data::normalization_scale(manifest.target_stats, manifest.d_model);
  const auto device = parts_.lorsa.weights().W_Q.device();
  target_mean_D_ =
      (at::tensor(manifest.target_mean, at::kDouble) * target_scale_).to(device, at::kFloat);
}

bool Trainer::run() {
  TrainerState& state = parts_.state;
  window_start_s_ = now_s();
  while (state.tokens_seen < config_.train.tokens) {
    const double start_s = now_s();
    const Prepared batch = next_batch();
    const double ready_s = now_s();
    const int64_t before = state.tokens_seen;
    const int64_t after = before + batch.num_tokens;
    const int64_t top_k = top_k_at(config_.train, config_.model.top_k, before);
    model::StepResult step =
        parts_.lorsa.forward_backward(batch.input_BTD,
                                      batch.target_BTD,
                                      batch.scored_BT,
                                      {.grad_scale = batch.grad_scale, .top_k = top_k});
    const double modelled_s = now_s();
    apply(step, batch);
    state.tokens_seen = after;
    state.rows_seen = parts_.loader.position();
    const double end_s = now_s();
    times_.data_wait_s += ready_s - start_s;
    times_.model_s += modelled_s - ready_s;
    times_.optimizer_s += end_s - modelled_s;
    state.train_seconds += end_s - start_s;
    if (hooks_.step_done) {
      hooks_.step_done(after, step.squared_error * batch.grad_scale);
    }
    const bool finished = after >= config_.train.tokens;
    if (passes(before, after, config_.log.every_tokens) || finished) {
      write_metrics(top_k,
                    learning_rate_at(config_.train, static_cast<double>(before + after) / 2));
    }
    const bool stop = !finished && hooks_.stop_requested && hooks_.stop_requested();
    if (hooks_.checkpoint &&
        (stop || finished || passes(before, after, config_.checkpoint.every_tokens))) {
      hooks_.checkpoint();
    }
    if (stop) {
      return false;
    }
  }
  return true;
}

Trainer::Prepared Trainer::next_batch() {
  const data::Batch batch = parts_.loader.next();
  const auto device = parts_.lorsa.weights().W_Q.device();
  Prepared out;
  out.input_BTD = batch.input_BTD.to(device, at::kFloat) * input_scale_;
  out.target_BTD = batch.target_BTD.to(device, at::kFloat) * target_scale_;
  out.scored_BT = batch.scored_BT.to(device);
  out.num_scored = batch.scored_BT.sum().item<int64_t>();
  out.num_tokens = batch.scored_BT.numel();
  // A batch without a scored token has loss 0 and gradient 0.
  const auto terms =
      static_cast<double>(std::max<int64_t>(out.num_scored, 1) * out.input_BTD.size(2));
  out.grad_scale = 1.0 / terms;
  return out;
}

void Trainer::apply(model::StepResult& step, const Prepared& batch) {
  double square = 0.0;
  const auto gradients = step.gradients.named();
  for (const auto& [name, gradient] : gradients) {
    square += kernels::squared_norm(*gradient);
  }
  const double norm = std::sqrt(square);
  TrainerState& state = parts_.state;
  LORSA_CHECK(std::isfinite(step.squared_error) && std::isfinite(norm),
              Error,
              "training stopped after ",
              state.tokens_seen,
              " tokens: the loss (",
              step.squared_error * batch.grad_scale,
              ") or the gradient's norm (",
              norm,
              ") is not finite; the weights were not touched by this step. A lower "
              "train.learning_rate or a "
              "train.clip_norm may help; the newest checkpoint can be resumed.");
  kernels::AdamHyper hyper;
  const auto middle =
      static_cast<double>(state.tokens_seen) + static_cast<double>(batch.num_tokens) / 2;
  hyper.learning_rate = learning_rate_at(config_.train, middle);
  hyper.beta1 = config_.train.beta1;
  hyper.beta2 = config_.train.beta2;
  hyper.eps = config_.train.eps;
  hyper.step = ++state.optimizer.steps;
  if (config_.train.clip_norm > 0.0 && norm > config_.train.clip_norm) {
    hyper.gradient_scale = config_.train.clip_norm / norm;
  }
  const auto weights = parts_.lorsa.weights().named();
  const auto first = state.optimizer.first_moment.named();
  const auto second = state.optimizer.second_moment.named();
  for (size_t i = 0; i < weights.size(); ++i) {
    kernels::adam_step_(
        *weights[i].second, *gradients[i].second, *first[i].second, *second[i].second, hyper);
  }
  account(step, batch, norm);
}

void Trainer::account(const model::StepResult& step, const Prepared& batch, double grad_norm) {
  TrainerState& state = parts_.state;
  MetricWindow& w = state.window;
  const at::Tensor deviation_P = (batch.target_BTD - target_mean_D_).square().sum(-1).reshape({-1});
  const at::Tensor scored_P = batch.scored_BT.reshape({-1});
  w.squared_error += step.squared_error;
  w.squared_deviation += (deviation_P * scored_P).sum(at::kDouble).item<double>();
  w.num_scored += step.num_scored;
  w.grad_norm += grad_norm;
  w.steps += 1;
  w.tokens += batch.num_tokens;
  const at::Tensor active_PK = (step.kept.value_PK != 0).logical_and(scored_P.unsqueeze(1));
  w.num_active += active_PK.sum().item<int64_t>();
  const at::Tensor heads = step.kept.head_PK.masked_select(active_PK).to(at::kLong);
  state.last_active_H.index_fill_(0, heads, state.tokens_seen + batch.num_tokens);
}

void Trainer::write_metrics(int64_t top_k, double learning_rate) {
  TrainerState& state = parts_.state;
  MetricWindow& w = state.window;
  const double elapsed_s = now_s() - window_start_s_;
  const auto scored = static_cast<double>(std::max<int64_t>(w.num_scored, 1));
  const at::Tensor silent_H =
      (state.tokens_seen - state.last_active_H) >= config_.log.dead_window_tokens;
  io::Json line;
  line["tokens"] = state.tokens_seen;
  line["loss"] = w.squared_error / (scored * static_cast<double>(parts_.lorsa.shape().d_model));
  line["fvu"] = w.squared_deviation > 0 ? w.squared_error / w.squared_deviation : 0.0;
  line["l0"] = static_cast<double>(w.num_active) / scored;
  line["dead_fraction"] = silent_H.to(at::kDouble).mean().item<double>();
  line["learning_rate"] = learning_rate;
  line["top_k"] = top_k;
  line["grad_norm"] = w.grad_norm / static_cast<double>(std::max<int64_t>(w.steps, 1));
  line["tokens_per_s"] = elapsed_s > 0 ? static_cast<double>(w.tokens) / elapsed_s : 0.0;
  line["data_wait_s"] = times_.data_wait_s;
  line["model_s"] = times_.model_s;
  line["optimizer_s"] = times_.optimizer_s;
  line["elapsed_s"] = state.train_seconds;
  if (hooks_.metrics_line) {
    hooks_.metrics_line(line.dump());
  }
  w = MetricWindow{};
  times_ = StepTimes{};
  window_start_s_ = now_s();
}

}  // namespace lorsa::train
