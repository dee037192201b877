#include "eval/replacement.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

namespace lorsa::eval {

lm::Edit replaced_by(const Replacement& replacement, const at::Tensor& scored_BT1) {
  const model::Dictionary* dictionary = replacement.dictionary;
  return {replacement.site, [dictionary, scored_BT1](const at::Tensor& in, const at::Tensor& out) {
            const at::Tensor& W = dictionary->weights().W_V;
            const at::Tensor read = dictionary->read_of(in, out).to(W.device(), W.scalar_type());
            const at::Tensor y = dictionary->reconstruct(read).y_BTD;
            return at::where(scored_BT1, y.to(out.device(), out.scalar_type()), out);
          }};
}

lm::Edit replaced_by(const Site& site, const at::Tensor& value, const at::Tensor& scored_BT1) {
  return {site, [value, scored_BT1](const at::Tensor&, const at::Tensor& out) {
            return at::where(scored_BT1, value.to(out.device(), out.scalar_type()).expand_as(out),
                             out);
          }};
}

void add_predictions(const lm::LanguageModel& model,
                     int64_t first_layer,
                     const at::Tensor& tokens_BT,
                     const at::Tensor& scored_BT,
                     const std::function<ReplacedRuns(const at::Tensor& scored_BT1)>& edits,
                     PredictionMeter& predictions) {
  const at::NoGradGuard no_grad;
  const at::Tensor scored_BT1 = scored_BT.to(model.device()).unsqueeze(-1);
  const ReplacedRuns runs = edits(scored_BT1);
  const lm::Residual from = model.residual_before(tokens_BT, first_layer);
  const at::Tensor h_original = model.final_hidden(from);
  const at::Tensor h_zero = model.final_hidden(from, runs.zero_ablated);
  const bool has_mean = !runs.mean_ablated.empty();
  const at::Tensor h_mean = has_mean ? model.final_hidden(from, runs.mean_ablated) : at::Tensor();
  std::vector<at::Tensor> h_replaced;
  for (const std::vector<lm::Edit>& replaced : runs.replaced) {
    h_replaced.push_back(model.final_hidden(from, replaced));
  }
  for (int64_t b = 0; b < tokens_BT.size(0); ++b) {
    const auto logits_of = [&](const at::Tensor& hidden_BTD) -> LogitsAt {
      return [&model, row_TD = hidden_BTD[b]](const at::Tensor& position_n) {
        return model.unembed(row_TD.index({position_n}));
      };
    };
    RowLogits logits{logits_of(h_original), logits_of(h_zero), nullptr, {}};
    if (has_mean) {
      logits.mean_ablated = logits_of(h_mean);
    }
    for (const at::Tensor& hidden_BTD : h_replaced) {
      logits.replaced.push_back(logits_of(hidden_BTD));
    }
    predictions.add_row(tokens_BT[b], scored_BT1[b].squeeze(-1), logits);
  }
}

}  // namespace lorsa::eval
