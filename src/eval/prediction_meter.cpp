#include "eval/prediction_meter.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>

namespace lorsa::eval {
namespace {

at::Tensor log_probabilities(const at::Tensor& logits_nV) {
  return at::log_softmax(logits_nV, -1, at::kDouble);
}

// Sum over the given positions of -log p(next).
double cross_entropy_sum(const at::Tensor& log_p_nV, const at::Tensor& next_n) {
  return -log_p_nV.gather(1, next_n.unsqueeze(1)).sum().item<double>();
}

}  // namespace

void PredictionMeter::add_row(const at::Tensor& tokens_T,
                              const at::Tensor& scored_T,
                              const RowLogits& logits) {
  const at::NoGradGuard no_grad;
  const int64_t last = tokens_T.size(0) - 1;
  const at::Tensor counted_n = scored_T.narrow(0, 1, last).nonzero().squeeze(1);
  const int64_t n = counted_n.numel();
  if (n == 0) {
    return;
  }
  const at::Tensor next_n =
      tokens_T.narrow(0, 1, last).to(scored_T.device(), at::kLong).index({counted_n});
  const int64_t vocabulary = logits.original(counted_n.narrow(0, 0, 1)).size(1);
  const int64_t slice = std::max<int64_t>(1, kLogits / vocabulary);
  for (int64_t first = 0; first < n; first += slice) {
    const int64_t count = std::min(slice, n - first);
    add_positions(counted_n.narrow(0, first, count), next_n.narrow(0, first, count), logits);
  }
  num_predictions_ += n;
}

void PredictionMeter::add_positions(const at::Tensor& position_n,
                                    const at::Tensor& next_n,
                                    const RowLogits& logits) {
  const at::Tensor original = log_probabilities(logits.original(position_n));
  original_ += cross_entropy_sum(original, next_n);
  {
    const at::Tensor replaced = log_probabilities(logits.replaced(position_n));
    replaced_ += cross_entropy_sum(replaced, next_n);
    kl_ += (original.exp() * (original - replaced)).sum().item<double>();
  }
  zero_ += cross_entropy_sum(log_probabilities(logits.zero_ablated(position_n)), next_n);
  mean_ += cross_entropy_sum(log_probabilities(logits.mean_ablated(position_n)), next_n);
}

LanguageReport PredictionMeter::report() const {
  LanguageReport r;
  r.num_predictions = num_predictions_;
  const auto n = static_cast<double>(num_predictions_);
  r.ce_original = original_ / n;
  r.ce_replaced = replaced_ / n;
  r.ce_zero_ablated = zero_ / n;
  r.ce_mean_ablated = mean_ / n;
  r.ce_recovered = (zero_ - replaced_) / (zero_ - original_);
  r.kl = kl_ / n;
  return r;
}

}  // namespace lorsa::eval
