#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "eval/prediction_meter.h"
#include "lorsa/core/site.h"
#include "lorsa/eval/evaluate.h"
#include "lorsa/lm/language_model.h"
#include "lorsa/model/dictionary.h"

namespace lorsa::eval {

/// Accumulates cross-entropies and KL of a language model whose site is replaced by each of several
/// dictionaries in turn. What does not depend on them is computed once: the run below the site, the
/// untouched one and the two ablated ones.
class LanguageMeter {
 public:
  /// `target_mean_D` is what mean ablation writes. All are borrowed.
  LanguageMeter(const lm::LanguageModel& model,
                std::vector<const model::Dictionary*> dictionaries,
                const Site& site,
                const at::Tensor& target_mean_D);

  /// tokens [B, T], scored [B, T] bool.
  void add(const at::Tensor& tokens_BT, const at::Tensor& scored_BT);

  /// One for each dictionary, in their order.
  [[nodiscard]] std::vector<LanguageReport> reports() const { return predictions_.reports(); }

 private:
  const lm::LanguageModel& model_;
  std::vector<const model::Dictionary*> dictionaries_;
  Site site_;
  at::Tensor target_mean_D_;
  PredictionMeter predictions_;
};

}  // namespace lorsa::eval
