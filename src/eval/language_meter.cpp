#include "eval/language_meter.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <utility>

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
  const auto at_scored = [&](const at::Tensor& replacement, const at::Tensor& output) {
    return at::where(scored_BT1, replacement.to(output.device(), output.scalar_type()), output);
  };
  const auto zero = [&](const at::Tensor&, const at::Tensor& output) {
    return at_scored(at::zeros_like(output), output);
  };
  const auto mean = [&](const at::Tensor&, const at::Tensor& output) {
    return at_scored(target_mean_D_.expand_as(output), output);
  };
  const lm::Residual residual = model_.residual_before(tokens_BT, site_.layer);
  const at::Tensor h_original = model_.final_hidden(residual);
  const at::Tensor h_zero = model_.final_hidden(residual, {{site_, zero}});
  const at::Tensor h_mean = model_.final_hidden(residual, {{site_, mean}});
  std::vector<at::Tensor> h_replaced;
  for (const model::Dictionary* dictionary : dictionaries_) {
    const auto replaced = [&](const at::Tensor& input, const at::Tensor& output) {
      const at::Tensor& W = dictionary->weights().W_V;
      const at::Tensor& read = dictionary->read_of(input, output);
      return at_scored(dictionary->reconstruct(read.to(W.device(), W.scalar_type())).y_BTD, output);
    };
    h_replaced.push_back(model_.final_hidden(residual, {{site_, replaced}}));
  }
  for (int64_t b = 0; b < tokens_BT.size(0); ++b) {
    const auto logits_of = [&](const at::Tensor& hidden_BTD) {
      return [this, row_TD = hidden_BTD[b]](const at::Tensor& position_n) {
        return model_.unembed(row_TD.index({position_n}));
      };
    };
    RowLogits logits{logits_of(h_original), logits_of(h_zero), logits_of(h_mean), {}};
    for (const at::Tensor& hidden_BTD : h_replaced) {
      logits.replaced.emplace_back(logits_of(hidden_BTD));
    }
    predictions_.add_row(tokens_BT[b], scored_BT1[b].squeeze(-1), logits);
  }
}

}  // namespace lorsa::eval
