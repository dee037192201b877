#include "eval/language_meter.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <utility>

#include "eval/replacement.h"

namespace lorsa::eval {

LanguageMeter::LanguageMeter(const lm::LanguageModel& model,
                             std::vector<const model::Dictionary*> dictionaries,
                             const Site& site,
                             const at::Tensor& target_mean_D)
    : model_(model),
      dictionaries_(std::move(dictionaries)),
      site_(site),
      target_mean_D_(target_mean_D),
      predictions_(dictionaries_.size()) {}

void LanguageMeter::add(const at::Tensor& tokens_BT, const at::Tensor& scored_BT) {
  const at::NoGradGuard no_grad;
  const at::Tensor scored_BT1 = scored_BT.to(model_.device()).unsqueeze(-1);
  const lm::Residual residual = model_.residual_before(tokens_BT, site_.layer);
  const at::Tensor h_original = model_.final_hidden(residual);
  const at::Tensor h_zero =
      model_.final_hidden(residual, {replaced_by(site_, at::zeros({1}), scored_BT1)});
  const at::Tensor h_mean =
      model_.final_hidden(residual, {replaced_by(site_, target_mean_D_, scored_BT1)});
  std::vector<at::Tensor> h_replaced;
  for (const model::Dictionary* dictionary : dictionaries_) {
    h_replaced.push_back(
        model_.final_hidden(residual, {replaced_by({site_, dictionary}, scored_BT1)}));
  }
  for (int64_t b = 0; b < tokens_BT.size(0); ++b) {
    const auto logits_of = [&](const at::Tensor& h_BTD) { return logits_of_row(model_, h_BTD[b]); };
    RowLogits logits{logits_of(h_original), logits_of(h_zero), logits_of(h_mean), {}};
    for (const at::Tensor& hidden_BTD : h_replaced) {
      logits.replaced.emplace_back(logits_of(hidden_BTD));
    }
    predictions_.add_row(tokens_BT[b], scored_BT1[b].squeeze(-1), logits);
  }
}

}  // namespace lorsa::eval
