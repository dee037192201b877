#include "eval/prediction_meter.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <limits>

#include "eval/next_tokens.h"

namespace lorsa::eval {

void PredictionMeter::add_row(const at::Tensor& tokens_T,
                              const at::Tensor& scored_T,
                              const RowLogits& logits) {
  const at::NoGradGuard no_grad;
  const NextTokens next = next_tokens(tokens_T, scored_T, scored_T.device());
  if (next.count() == 0) {
    return;
  }
  const int64_t vocabulary = logits.original(next.position_n.narrow(0, 0, 1)).size(1);
  for (const NextTokens& piece : next.pieces(vocabulary)) {
    add_positions(piece.position_n, piece.token_n, logits);
  }
  num_predictions_ += next.count();
}

void PredictionMeter::add_positions(const at::Tensor& position_n,
                                    const at::Tensor& next_n,
                                    const RowLogits& logits) {
  const at::Tensor original = log_probabilities(logits.original(position_n));
  original_ += cross_entropy_sum(original, next_n);
  for (size_t i = 0; i < replaced_.size(); ++i) {
    const at::Tensor replaced = log_probabilities(logits.replaced[i](position_n));
    replaced_[i].cross_entropy += cross_entropy_sum(replaced, next_n);
    replaced_[i].kl += divergence_sum(original, replaced);
  }
  zero_ += cross_entropy_sum(log_probabilities(logits.zero_ablated(position_n)), next_n);
  mean_ += logits.mean_ablated
               ? cross_entropy_sum(log_probabilities(logits.mean_ablated(position_n)), next_n)
               : std::numeric_limits<double>::quiet_NaN();
}

std::vector<LanguageReport> PredictionMeter::reports() const {
  const auto n = static_cast<double>(num_predictions_);
  std::vector<LanguageReport> reports;
  for (const Replaced& replaced : replaced_) {
    LanguageReport r;
    r.num_predictions = num_predictions_;
    r.ce_original = original_ / n;
    r.ce_replaced = replaced.cross_entropy / n;
    r.ce_zero_ablated = zero_ / n;
    r.ce_mean_ablated = mean_ / n;
    r.ce_recovered = (zero_ - replaced.cross_entropy) / (zero_ - original_);
    r.kl = replaced.kl / n;
    reports.push_back(r);
  }
  return reports;
}

}  // namespace lorsa::eval
