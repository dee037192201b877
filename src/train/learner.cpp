#include "lorsa/train/learner.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <span>
#include <utility>

#include "core/device_clock.h"
#include "lorsa/core/device.h"
#include "lorsa/core/error.h"
#include "lorsa/io/json.h"
#include "lorsa/kernels/adam.h"

namespace lorsa::train {
namespace {

/// A threshold is measured at every so many steps: it costs a selection over all scores.
constexpr int64_t kThresholdEvery = 4;
/// Share of the tokens at the end over which thresholds are averaged.
constexpr double kThresholdShare = 0.2;
/// Of a step, before those of the caller and the gradients' squares.
constexpr size_t kNumbers = 6;

/// Of the summed squared error. A batch without a scored token has loss 0 and gradient 0.
double mean_scale(const TrainingBatch& batch) {
  const int64_t terms = std::max<int64_t>(batch.num_scored, 1) * batch.target_BTD.size(2);
  return 1.0 / static_cast<double>(terms);
}

}  // namespace

OptimizerState fresh_optimizer(const model::DictionaryWeights& weights) {
  OptimizerState state;
  state.first_moment = weights;
  state.second_moment = weights;
  for (model::DictionaryWeights* moments : {&state.first_moment, &state.second_moment}) {
    for (const auto& [name, tensor] : moments->named()) {
      *tensor = at::zeros_like(*tensor);
    }
  }
  return state;
}

Learner::Learner(const Settings& settings, Parts parts)
    : settings_(settings),
      parts_(parts),
      clock_(make_device_clock(parts.communicator.device(), kNumParts)) {
  if (settings.in_bfloat16) {
    for (const model::WeightInfo& info : model::weight_table()) {
      const at::Tensor& weight = parts.dictionary.weights().*info.member;
      if (info.is_matrix && weight.defined()) {
        bfloat16_weights_.*info.member = weight.to(at::kBFloat16);
      }
    }
  }
}

Learner::Learner(Learner&&) noexcept = default;
Learner::~Learner() = default;

double Learner::step(const TrainingBatch& batch, std::span<double> shared) {
  clock_->lap(kBetweenSteps);
  const at::Tensor dead = settings_.train.aux_k > 0 ? dead_heads() : at::Tensor();
  forget_dead_moments(batch, dead);
  Sums sums = compute(batch, options_for(batch, dead), shared);
  apply(sums, batch);
  clock_->lap(kOptimizer);
  return sums.squared_error * mean_scale(batch);
}

at::Tensor Learner::silent_tokens_H() const {
  return parts_.state.tokens_seen - parts_.state.last_active_H;
}

at::Tensor Learner::dead_heads() {
  const at::Tensor dead_H = silent_tokens_H() >= settings_.train.dead_after_tokens;
  if (!num_dead_) {
    num_dead_ = dead_H.sum().item<int64_t>();
  }
  // What nonzero() gives, but that has to ask the device how many there are.
  return std::get<1>(dead_H.to(at::kByte).sort(/*stable=*/true, /*dim=*/0, /*descending=*/true))
      .narrow(0, 0, *num_dead_);
}

void Learner::forget_dead_moments(const TrainingBatch& batch, const at::Tensor& dead_heads) {
  if (!dead_heads.defined() || dead_heads.size(0) == 0) {
    return;
  }
  // Of those that were found dead before, most keep theirs.
  const at::Tensor forgets_n = silent_tokens_H()
                                   .index_select(0, dead_heads)
                                   .remainder(settings_.train.dead_after_tokens)
                                   .lt(batch.num_tokens);
  OptimizerState& optimizer = parts_.state.optimizer;
  for (model::DictionaryWeights* moments : {&optimizer.first_moment, &optimizer.second_moment}) {
    for (const model::WeightInfo& info : model::weight_table()) {
      at::Tensor& moment = moments->*info.member;
      if (info.axis == model::HeadAxis::kOv && moment.defined()) {
        at::Tensor rows = moment.index_select(0, dead_heads);
        rows.masked_fill_(rows.dim() == 2 ? forgets_n.unsqueeze(1) : forgets_n, 0.0);
        moment.index_copy_(0, dead_heads, rows);
      }
    }
  }
}

bool Learner::measures_threshold(const TrainingBatch& batch) const {
  if (!ends_as_jumprelu(settings_.train.final_activation, parts_.dictionary.shape().activation)) {
    return false;
  }
  const TrainerState& state = parts_.state;
  const auto budget = static_cast<double>(settings_.train.tokens);
  const bool last = state.tokens_seen + batch.num_tokens >= settings_.train.tokens;
  const bool late = static_cast<double>(state.tokens_seen) >= (1.0 - kThresholdShare) * budget;
  return last || (late && state.optimizer.steps % kThresholdEvery == 0);
}

model::StepOptions Learner::options_for(const TrainingBatch& batch,
                                        const at::Tensor& dead_heads) const {
  const TrainerState& state = parts_.state;
  const RunConfig::Train& train = settings_.train;
  const auto scored = static_cast<double>(std::max<int64_t>(batch.num_scored, 1));
  model::StepOptions options;
  options.grad_scale = mean_scale(batch);
  options.top_k = top_k_at(train, parts_.dictionary.shape().top_k, state.tokens_seen);
  options.penalty = {train.penalty, penalty_at(train, state.tokens_seen) / scored,
                     train.penalty_stretch};
  options.jumprelu_window = train.jumprelu_window;
  options.qk = train.freeze == Freeze::kQk ? model::StepOptions::Qk::kFreeze
                                           : model::StepOptions::Qk::kTrain;
  if (bfloat16_weights_.W_O.defined()) {
    options.precision = model::StepOptions::Precision::kBFloat16;
    options.bfloat16_weights = bfloat16_weights_;
  }
  if (train.aux_k > 0) {
    options.auxiliary = {train.aux_k, train.aux_coefficient, dead_heads};
  }
  if (measures_threshold(batch)) {
    options.threshold = model::StepOptions::Threshold::kMeasure;
  }
  return options;
}

Learner::Sums Learner::compute(const TrainingBatch& batch,
                               const model::StepOptions& options,
                               std::span<double> shared) {
  const at::Tensor& input_BTD = parts_.dictionary.read_of(batch.input_BTD, batch.target_BTD);
  const int64_t rows = input_BTD.size(0);
  const int64_t part =
      parts_.micro_batch_sequences > 0 ? std::min(parts_.micro_batch_sequences, rows) : rows;
  Sums sums;
  std::vector<UnderWay> under_way;
  for (int64_t begin = 0; begin < rows; begin += part) {
    const int64_t size = std::min(part, rows - begin);
    const bool last = begin + size == rows;
    model::StepOptions of_part = options;
    if (last && parts_.communicator.world_size() > 1) {
      of_part.gradient_ready = [&](const std::string& name, at::Tensor& gradient) {
        if (sums.gradients.at(name).defined()) {
          gradient.add_(sums.gradients.at(name));
        }
        under_way.push_back({name, parts_.communicator.begin_all_reduce_sum(gradient)});
      };
    }
    model::StepResult step = parts_.dictionary.forward_backward(
        input_BTD.narrow(0, begin, size), batch.target_BTD.narrow(0, begin, size),
        batch.scored_BT.narrow(0, begin, size), of_part);
    const bool first = begin == 0;
    const bool summed = static_cast<bool>(of_part.gradient_ready);
    for (const auto& [name, gradient] : step.gradients.named()) {
      at::Tensor& sum = sums.gradients.at(name);
      if (first || summed) {
        sum = *gradient;
      } else {
        sum.add_(*gradient);
      }
    }
    const at::Tensor numbers =
        at::stack({step.squared_error, step.penalty, step.auxiliary_loss,
                   step.threshold * static_cast<double>(size) / static_cast<double>(rows),
                   step.num_active.to(at::kDouble)});
    sums.numbers = first ? numbers : sums.numbers.add_(numbers);
    const at::Tensor& invalid = step.kept.first_invalid;
    if (invalid.defined()) {
      sums.first_invalid =
          first ? invalid : at::where(sums.first_invalid[0] >= 0, sums.first_invalid, invalid);
    }
    sums.active_H = first ? step.active_H : sums.active_H.logical_or(step.active_H);
  }
  sums.numbers = at::cat({sums.numbers, batch.squared_deviation.view({1})});
  if (parts_.communicator.world_size() == 1) {
    clock_->lap(kModel);
    return sums;
  }
  sums.shared = shared;
  under_way.push_back({"", begin_sums(sums)});
  clock_->lap(kModel);
  for (UnderWay& sum : under_way) {
    sum.work.wait();
    if (!sum.gradient.empty()) {
      measure(sum.gradient, sums);
    }
  }
  clock_->lap(kCommunication);
  unpack(sums);
  return sums;
}

// One collective behind the gradients': each costs a wait of its own, and is waited for when the
// device has nothing else to do.
dist::Work Learner::begin_sums(Sums& sums) const {
  std::vector<at::Tensor> parts = {sums.numbers};
  for (const double number : sums.shared) {
    parts.push_back(at::full({1}, number, sums.numbers.options()));
  }
  // A head acted where its sum is above 0.
  parts.push_back(sums.active_H.to(at::kDouble));
  sums.numbers = at::cat(parts);
  return parts_.communicator.begin_all_reduce_sum(sums.numbers);
}

void Learner::unpack(Sums& sums) {
  const int64_t heads = sums.active_H.size(0);
  const int64_t numbers = sums.numbers.size(0) - heads;
  sums.active_H = sums.numbers.narrow(0, numbers, heads) > 0;
  sums.numbers = sums.numbers.narrow(0, 0, numbers);
}

void Learner::measure(const std::string& name, Sums& sums) const {
  at::Tensor& gradient = sums.gradients.at(name);
  if (name == "W_O" && settings_.train.unit_decoder) {
    // Only what turns the rows: their length is fixed (Bricken et al. 2023).
    const at::Tensor& W_O = parts_.dictionary.weights().W_O;
    gradient.addcmul_((gradient * W_O).sum(1, /*keepdim=*/true), W_O, -1.0);
  }
  sums.squares.at(name) = kernels::squared_norm(gradient).view({1});
}

double Learner::read(Sums& sums, const TrainingBatch& batch) const {
  const TrainerState& state = parts_.state;
  const at::Tensor silent_H =
      (state.tokens_seen + batch.num_tokens - state.last_active_H).masked_fill_(sums.active_H, 0);
  const at::Tensor num_dead = silent_H.ge(settings_.train.dead_after_tokens).sum();
  std::vector<at::Tensor> numbers = {sums.numbers, num_dead.to(at::kDouble).view({1})};
  for (const auto& [name, gradient] : sums.gradients.named()) {
    if (!sums.squares.at(name).defined()) {
      measure(name, sums);
    }
    numbers.push_back(sums.squares.at(name));
  }
  if (sums.first_invalid.defined()) {
    numbers.push_back(sums.first_invalid);
  }
  const at::Tensor host = at::cat(numbers).cpu();
  std::span<const double> value(host.const_data_ptr<double>(), static_cast<size_t>(host.numel()));
  if (sums.first_invalid.defined()) {
    constexpr size_t kOfInvalid = 4;
    value = value.first(value.size() - kOfInvalid);
    kernels::check_scores(host.narrow(0, static_cast<int64_t>(value.size()), kOfInvalid));
  }
  sums.squared_error = value[0];
  sums.penalty = value[1];
  sums.auxiliary_loss = value[2];
  sums.threshold = value[3] / static_cast<double>(parts_.communicator.world_size());
  sums.num_active = std::llround(value[4]);
  sums.squared_deviation = value[5];
  const auto shared = value.subspan(kNumbers, sums.shared.size());
  std::copy(shared.begin(), shared.end(), sums.shared.begin());
  sums.num_dead = std::llround(value[kNumbers + shared.size()]);
  const auto squares = value.subspan(kNumbers + shared.size() + 1);
  return std::sqrt(std::accumulate(squares.begin(), squares.end(), 0.0));
}

void Learner::apply(Sums& sums, const TrainingBatch& batch) {
  const double norm = read(sums, batch);
  TrainerState& state = parts_.state;
  const RunConfig::Train& train = settings_.train;
  LORSA_CHECK(std::isfinite(sums.squared_error) && std::isfinite(norm), Error,
              "training stopped after {} tokens: the loss ({}) or the gradient's norm ({}) is not "
              "finite; the weights were not touched by this step. A lower train.learning_rate or a "
              "train.clip_norm may help; the newest checkpoint can be resumed.",
              state.tokens_seen, sums.squared_error * mean_scale(batch), norm);
  kernels::AdamHyper hyper;
  const auto middle =
      static_cast<double>(state.tokens_seen) + static_cast<double>(batch.num_tokens) / 2;
  hyper.learning_rate = learning_rate_at(train, middle);
  hyper.beta1 = train.beta1;
  hyper.beta2 = train.beta2;
  hyper.eps = train.eps;
  hyper.step = ++state.optimizer.steps;
  hyper.kind = train.optimizer == Optimizer::kSparseAdam ? kernels::AdamKind::kSparse
                                                         : kernels::AdamKind::kDense;
  if (train.clip_norm > 0.0 && norm > train.clip_norm) {
    hyper.gradient_scale = train.clip_norm / norm;
  }
  for (const auto& [name, gradient] : sums.gradients.named()) {
    // Decay is for what multiplies activations; biases, gains and thresholds are left alone.
    const bool decays = train.optimizer == Optimizer::kAdamW && model::weight_info(name).is_matrix;
    hyper.weight_decay = decays ? train.weight_decay : 0.0;
    kernels::adam_step_(parts_.dictionary.weights().at(name), *gradient,
                        state.optimizer.first_moment.at(name),
                        state.optimizer.second_moment.at(name), hyper, bfloat16_weights_.at(name));
  }
  if (train.unit_decoder) {
    at::Tensor& W_O = parts_.dictionary.weights().W_O;
    W_O.div_(parts_.dictionary.output_norms().clamp_min(1e-30).unsqueeze(1));
    if (bfloat16_weights_.W_O.defined()) {
      bfloat16_weights_.W_O.copy_(W_O);
    }
  }
  account(sums, batch, norm);
}

void Learner::account(const Sums& sums, const TrainingBatch& batch, double grad_norm) {
  TrainerState& state = parts_.state;
  if (measures_threshold(batch) && sums.threshold > 0.0) {
    state.threshold_sum += sums.threshold;
    state.threshold_count += 1;
  }
  state.tokens_seen += batch.num_tokens;
  num_dead_ = sums.num_dead;
  MetricWindow& w = state.window;
  w.squared_error += sums.squared_error;
  w.squared_deviation += sums.squared_deviation;
  w.penalty += sums.penalty;
  w.auxiliary_loss += sums.auxiliary_loss;
  w.num_scored += batch.num_scored;
  w.num_active += sums.num_active;
  w.grad_norm += grad_norm;
  w.steps += 1;
  w.tokens += batch.num_tokens;
  state.last_active_H.masked_fill_(sums.active_H, state.tokens_seen);
}

std::string Learner::take_metrics(double data_wait_s, double elapsed_s) {
  TrainerState& state = parts_.state;
  MetricWindow& w = state.window;
  const auto scored = static_cast<double>(std::max<int64_t>(w.num_scored, 1));
  const auto steps = static_cast<double>(std::max<int64_t>(w.steps, 1));
  const int64_t last_step = w.steps > 0 ? w.tokens / w.steps : 0;
  const at::Tensor silent_H = silent_tokens_H() >= settings_.log.dead_window_tokens;
  const std::vector<double> seconds = clock_->take();
  io::Json line;
  line["tokens"] = state.tokens_seen;
  line["loss"] =
      w.squared_error / (scored * static_cast<double>(parts_.dictionary.shape().d_model));
  line["fvu"] = w.squared_deviation > 0 ? w.squared_error / w.squared_deviation : 0.0;
  if (settings_.train.penalty != model::PenaltyKind::kNone) {
    line["penalty"] = w.penalty / steps;
  }
  if (settings_.train.aux_k > 0) {
    line["auxiliary_loss"] = w.auxiliary_loss / steps;
  }
  line["l0"] = static_cast<double>(w.num_active) / scored;
  line["dead_fraction"] = silent_H.to(at::kDouble).mean().item<double>();
  line["learning_rate"] = learning_rate_at(
      settings_.train, static_cast<double>(state.tokens_seen) - static_cast<double>(last_step) / 2);
  line["top_k"] =
      top_k_at(settings_.train, parts_.dictionary.shape().top_k, state.tokens_seen - last_step);
  line["grad_norm"] = w.grad_norm / steps;
  line["tokens_per_s"] = elapsed_s > 0 ? static_cast<double>(w.tokens) / elapsed_s : 0.0;
  line["data_wait_s"] = data_wait_s;
  line["model_s"] = seconds[kModel];
  line["communication_s"] = seconds[kCommunication];
  line["optimizer_s"] = seconds[kOptimizer];
  line["elapsed_s"] = state.train_seconds;
  if (parts_.communicator.device().is_cuda()) {
    line["gpu_memory_bytes"] = tensor_memory(parts_.communicator.device()).peak_bytes;
  }
  w = MetricWindow{};
  return line.dump();
}

}  // namespace lorsa::train
