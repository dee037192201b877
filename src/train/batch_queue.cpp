#include "train/batch_queue.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <utility>

namespace lorsa::train {
namespace {

/// Positions whose targets are recomputed at a time, rounded up to a sequence: in float32 the
/// layer's own heads take about 7 * 4096 * 4 bytes each in Llama-3.1-8B, 1 GiB together.
constexpr int64_t kRecomputedPositions = 8192;

}  // namespace

int64_t recomputed_sequences(int64_t context_length) {
  return std::max<int64_t>(kRecomputedPositions / context_length, 1);
}

BatchQueue::BatchQueue(const Parts& parts) : parts_(parts), position_(parts.loader.position()) {
  const data::Manifest& manifest = parts_.cache.manifest();
  input_scale_ = data::normalization_scale(manifest.input_stats, manifest.d_model);
  target_scale_ = data::normalization_scale(manifest.target_stats, manifest.d_model);
  target_mean_D_ =
      (at::tensor(manifest.target_mean, at::kDouble) * target_scale_).to(parts_.device, at::kFloat);
  if (parts_.copies != nullptr && manifest.store == data::StoreMode::kInput) {
    attention_ = parts_.cache.attention().to(parts_.device, at::kFloat);
  }
}

void BatchQueue::fetch() {
  const double waited_s = parts_.loader.wait_s();
  const data::Batch batch = parts_.loader.next();
  wait_s_ += parts_.loader.wait_s() - waited_s;
  const auto begun = [&](const at::Tensor& host) {
    return parts_.copies != nullptr && host.defined() ? parts_.copies->begin(host) : host;
  };
  Fetched next;
  next.target = {begun(batch.target_BTD), begun(batch.target_scale_BT)};
  if (parts_.reads_input || !batch.target_BTD.defined()) {
    next.input = {begun(batch.input_BTD), begun(batch.input_scale_BT)};
  }
  next.scored_BT = begun(batch.scored_BT);
  next.own_scored = batch.scored_BT.sum().item<int64_t>();
  next.position = parts_.loader.position();
  fetched_ = std::move(next);
}

void BatchQueue::set_scored(int64_t num_scored) {
  if (fetched_) {
    fetched_->num_scored = num_scored;
  }
}

TrainingBatch BatchQueue::take() {
  if (!fetched_) {
    fetch();
  }
  const Fetched next = *std::exchange(fetched_, std::nullopt);
  position_ = next.position;
  if (parts_.copies != nullptr) {
    std::vector<at::Tensor> copies = {next.input.values_BTD, next.input.scale_BT,
                                      next.target.values_BTD, next.target.scale_BT, next.scored_BT};
    std::erase_if(copies, [](const at::Tensor& copy) { return !copy.defined(); });
    parts_.copies->join(copies);
  }
  const Activations target =
      next.target.values_BTD.defined() ? next.target : Activations{recomputed(next.input), {}};
  TrainingBatch out;
  out.target_BTD = target.times(target_scale_);
  if (parts_.reads_input) {
    out.input_BTD = next.input.times(input_scale_);
  }
  out.scored_BT = next.scored_BT;
  const at::Tensor deviation_BT = (out.target_BTD - target_mean_D_).square_().sum(-1);
  out.squared_deviation = (deviation_BT * out.scored_BT).sum(at::kDouble);
  const int64_t world_size = parts_.communicator.world_size();
  out.num_tokens = out.scored_BT.numel() * world_size;
  out.num_scored = next.num_scored.value_or(next.own_scored);
  if (world_size > 1 && !next.num_scored) {
    const at::Tensor count = at::tensor({next.own_scored}, at::kLong).to(parts_.device);
    parts_.communicator.all_reduce_sum(count);
    out.num_scored = count.item<int64_t>();
  }
  return out;
}

double BatchQueue::take_wait_s() {
  return std::exchange(wait_s_, 0.0);
}

BatchQueue::Activations BatchQueue::Activations::rows(int64_t first, int64_t count) const {
  return {values_BTD.narrow(0, first, count),
          scale_BT.defined() ? scale_BT.narrow(0, first, count) : scale_BT};
}

at::Tensor BatchQueue::Activations::times(double factor) const {
  if (scale_BT.defined()) {
    return values_BTD.to(at::kFloat).mul_(scale_BT.unsqueeze(2)).mul_(factor);
  }
  // A tensor, so that the product is float32 and one pass.
  return values_BTD * at::full({1}, factor, values_BTD.options().dtype(at::kFloat));
}

at::Tensor BatchQueue::recomputed(const Activations& input) const {
  const at::Tensor& input_BTD = input.values_BTD;
  const int64_t part = recomputed_sequences(input_BTD.size(1));
  at::Tensor target_BTD = at::empty(input_BTD.sizes(), input_BTD.options().dtype(at::kFloat));
  for (int64_t begin = 0; begin < input_BTD.size(0); begin += part) {
    const int64_t size = std::min(part, input_BTD.size(0) - begin);
    target_BTD.narrow(0, begin, size)
        .copy_(kernels::mhsa_forward(*attention_, input.rows(begin, size).times(1.0)));
  }
  return target_BTD;
}

}  // namespace lorsa::train
