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
  next.target_BTD = begun(batch.target_BTD);
  if (parts_.reads_input || !batch.target_BTD.defined()) {
    next.input_BTD = begun(batch.input_BTD);
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
    std::vector<at::Tensor> copies = {next.input_BTD, next.target_BTD, next.scored_BT};
    std::erase_if(copies, [](const at::Tensor& copy) { return !copy.defined(); });
    parts_.copies->join(copies);
  }
  const at::Tensor target_BTD =
      next.target_BTD.defined() ? next.target_BTD : recomputed(next.input_BTD);
  TrainingBatch out;
  out.target_BTD = scaled(target_BTD, target_scale_);
  if (parts_.reads_input) {
    out.input_BTD = scaled(next.input_BTD, input_scale_);
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

at::Tensor BatchQueue::scaled(const at::Tensor& stored_BTD, double scale) const {
  at::Tensor full_BTD = stored_BTD.to(at::kFloat);
  // What is stored in float32 is the loader's still.
  return full_BTD.is_same(stored_BTD) ? full_BTD * scale : full_BTD.mul_(scale);
}

at::Tensor BatchQueue::recomputed(const at::Tensor& input_BTD) const {
  const int64_t rows = input_BTD.size(0);
  const int64_t part = std::max<int64_t>(kRecomputedPositions / input_BTD.size(1), 1);
  at::Tensor target_BTD = at::empty(input_BTD.sizes(), input_BTD.options().dtype(at::kFloat));
  for (int64_t begin = 0; begin < rows; begin += part) {
    const int64_t size = std::min(part, rows - begin);
    target_BTD.narrow(0, begin, size)
        .copy_(kernels::mhsa_forward(*attention_, input_BTD.narrow(0, begin, size).to(at::kFloat)));
  }
  return target_BTD;
}

}  // namespace lorsa::train
