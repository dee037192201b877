#pragma once

#include <ATen/core/Tensor.h>

#include "lorsa/eval/evaluate.h"
#include "lorsa/lm/language_model.h"
#include "lorsa/model/lorsa.h"

namespace lorsa::eval {

/// Accumulates cross-entropies and KL of a language model whose layer `layer` is replaced.
class LanguageMeter {
 public:
  /// `target_mean_D` is what mean ablation writes. All are borrowed.
  LanguageMeter(const lm::LanguageModel& model,
                const model::Lorsa& lorsa,
                int64_t layer,
                const at::Tensor& target_mean_D);

  /// tokens [B, T], scored [B, T] bool.
  void add(const at::Tensor& tokens_BT, const at::Tensor& scored_BT);
  [[nodiscard]] LanguageReport report() const;

 private:
  [[nodiscard]] at::Tensor hidden_with(const at::Tensor& residual_BTD,
                                       const lm::LanguageModel::Edit& edit) const;
  void add_row(const at::Tensor& tokens_T,
               const at::Tensor& scored_T,
               const at::Tensor& original_TD,
               const at::Tensor& replaced_TD,
               const at::Tensor& zero_TD,
               const at::Tensor& mean_TD);

  const lm::LanguageModel& model_;
  const model::Lorsa& lorsa_;
  int64_t layer_;
  at::Tensor target_mean_D_;
  int64_t num_predictions_ = 0;
  double original_ = 0.0;
  double replaced_ = 0.0;
  double zero_ = 0.0;
  double mean_ = 0.0;
  double kl_ = 0.0;
};

}  // namespace lorsa::eval
