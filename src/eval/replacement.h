#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <vector>

#include "eval/prediction_meter.h"
#include "lorsa/eval/together.h"
#include "lorsa/lm/language_model.h"

// What measures of a replaced site have in common. Outputs are replaced at scored positions only.

namespace lorsa::eval {

/// The site's output becomes the dictionary's; scored_BT1 [B, T, 1] on the model's device.
[[nodiscard]] lm::Edit replaced_by(const Replacement& replacement, const at::Tensor& scored_BT1);

/// The site's output becomes `value`, a number or of width D.
[[nodiscard]] lm::Edit replaced_by(const Site& site,
                                   const at::Tensor& value,
                                   const at::Tensor& scored_BT1);

/// Edits of one batch: what every run of the language model puts in the place of which outputs.
struct ReplacedRuns {
  std::vector<lm::Edit> zero_ablated;
  std::vector<lm::Edit> mean_ablated;  ///< empty: not measured
  std::vector<std::vector<lm::Edit>> replaced;
};

/// Runs the model untouched and under all edits, which `edits` makes of scored_BT1, and adds the
/// predictions. No edit may lie below `first_layer`: the blocks below it run once for all. tokens
/// [B, T], scored [B, T] bool.
void add_predictions(const lm::LanguageModel& model,
                     int64_t first_layer,
                     const at::Tensor& tokens_BT,
                     const at::Tensor& scored_BT,
                     const std::function<ReplacedRuns(const at::Tensor& scored_BT1)>& edits,
                     PredictionMeter& predictions);

}  // namespace lorsa::eval
