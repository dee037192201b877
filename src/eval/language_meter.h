#pragma once

#include <ATen/core/Tensor.h>

#include "eval/prediction_meter.h"
#include "lorsa/eval/evaluate.h"
#include "lorsa/lm/language_model.h"
#include "lorsa/model/dictionary.h"

namespace lorsa::eval {

/// Accumulates cross-entropies and KL of a language model whose layer `layer` is replaced.
class LanguageMeter {
 public:
  /// `target_mean_D` is what mean ablation writes. All are borrowed.
  LanguageMeter(const lm::LanguageModel& model,
                const model::Dictionary& dictionary,
                int64_t layer,
                const at::Tensor& target_mean_D);

  /// tokens [B, T], scored [B, T] bool.
  void add(const at::Tensor& tokens_BT, const at::Tensor& scored_BT);

  [[nodiscard]] LanguageReport report() const { return predictions_.report(); }

 private:
  const lm::LanguageModel& model_;
  const model::Dictionary& dictionary_;
  int64_t layer_;
  at::Tensor target_mean_D_;
  PredictionMeter predictions_;
};

}  // namespace lorsa::eval
