#include "eval/language_meter.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "eval/next_tokens.h"

namespace lorsa::eval {

LanguageMeter::LanguageMeter(const lm::LanguageModel& model,
                             const model::Lorsa& lorsa,
                             int64_t layer,
                             const at::Tensor& target_mean_D)
    : model_(model), lorsa_(lorsa), layer_(layer), target_mean_D_(target_mean_D) {}

at::Tensor LanguageMeter::hidden_with(const at::Tensor& residual_BTD,
                                      const lm::LanguageModel::Edit& edit) const {
  if (!edit) {
    return model_.final_hidden_from(residual_BTD, layer_, {}, edit);
  }
  return model_.final_hidden_from(residual_BTD, layer_, {layer_}, edit);
}

void LanguageMeter::add(const at::Tensor& tokens_BT, const at::Tensor& scored_BT) {
  const at::NoGradGuard no_grad;
  const at::Tensor scored_BT1 = scored_BT.to(model_.device()).unsqueeze(-1);
  const auto at_scored = [&](const at::Tensor& replacement, const at::Tensor& output) {
    return at::where(scored_BT1, replacement.to(output.device(), output.scalar_type()), output);
  };
  const auto replaced = [&](int64_t, const at::Tensor& input, const at::Tensor& output) {
    const at::Tensor& W = lorsa_.weights().W_V;
    const at::Tensor& read = lorsa_.shape().reads_target() ? output : input;
    return at_scored(lorsa_.reconstruct(read.to(W.device(), W.scalar_type())).y_BTD, output);
  };
  const auto zero = [&](int64_t, const at::Tensor&, const at::Tensor& output) {
    return at_scored(at::zeros_like(output), output);
  };
  const auto mean = [&](int64_t, const at::Tensor&, const at::Tensor& output) {
    return at_scored(target_mean_D_.expand_as(output), output);
  };
  const at::Tensor residual = model_.residual_before(tokens_BT, layer_);
  const at::Tensor h_original = hidden_with(residual, {});
  const at::Tensor h_replaced = hidden_with(residual, replaced);
  const at::Tensor h_zero = hidden_with(residual, zero);
  const at::Tensor h_mean = hidden_with(residual, mean);
  // Row by row: logits of one row of 256 take 50 MB at 49,152 tokens, and KL needs two of them at
  // once.
  for (int64_t b = 0; b < tokens_BT.size(0); ++b) {
    add_row(tokens_BT[b], scored_BT[b], h_original[b], h_replaced[b], h_zero[b], h_mean[b]);
  }
}

void LanguageMeter::add_row(const at::Tensor& tokens_T,
                            const at::Tensor& scored_T,
                            const at::Tensor& original_TD,
                            const at::Tensor& replaced_TD,
                            const at::Tensor& zero_TD,
                            const at::Tensor& mean_TD) {
  const NextTokens next = next_tokens(tokens_T, scored_T, original_TD.device());
  if (next.count() == 0) {
    return;
  }
  const auto log_probabilities = [&](const at::Tensor& hidden_TD) {
    return at::log_softmax(model_.unembed(hidden_TD.index({next.position_n})), -1);
  };
  num_predictions_ += next.count();
  const at::Tensor original = log_probabilities(original_TD);
  original_ += cross_entropy_sum(original, next.token_n);
  {
    const at::Tensor replaced = log_probabilities(replaced_TD);
    replaced_ += cross_entropy_sum(replaced, next.token_n);
    kl_ += divergence_sum(original, replaced);
  }
  zero_ += cross_entropy_sum(log_probabilities(zero_TD), next.token_n);
  mean_ += cross_entropy_sum(log_probabilities(mean_TD), next.token_n);
}

LanguageReport LanguageMeter::report() const {
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
