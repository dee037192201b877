#pragma once

#include <ATen/core/Tensor.h>

#include <string>
#include <utility>
#include <vector>

#include "lorsa/toy/config.h"

namespace lorsa::toy {

/// Rows as tensors. tokens [B, T] int64; answers of M asked positions as flat places b T + t and
/// tokens, [M] int64; source [B, T, T] float32: 1 where key j is a source of a rule applied at
/// query i, and application [M'] the flat places at which a rule applies with their answers.
struct TaskBatch {
  at::Tensor tokens_BT;
  at::Tensor asked_M, answer_M;
  at::Tensor applied_M, applied_answer_M;
  at::Tensor source_BTT;
};

/// A small Llama whose forward pass LibTorch differentiates.
class TargetModel {
 public:
  /// Weights N(0, 1/D), embeddings N(0, 1), gains 1. With d_mlp 0 the MLP has one unit of zero
  /// weights that are not trained.
  TargetModel(const ToyConfig::Model& config, int64_t vocabulary_size, uint64_t seed);

  /// Names as in Hugging Face files, with the tensors, in file order.
  [[nodiscard]] std::vector<std::pair<std::string, at::Tensor>>& named() { return named_; }

  /// What Adam changes.
  [[nodiscard]] std::vector<at::Tensor> trained() const;

  /// Logits [M, V] at the asked positions.
  [[nodiscard]] at::Tensor logits(const TaskBatch& batch) const;

  /// The loss of a batch: mean cross-entropy of the answers, and with `plant` > 0 its multiple of
  ///
  ///     mean over asked positions of |n|^2 + mean over others of |n|^2
  ///       + mean over applications of the cross-entropy of c cos(U_w g, s) at the answer w
  ///
  /// n being what the layer writes from keys that are no source of the query's rule, s what it
  /// writes from the sources, U_w an unembedding row, g the final norm's gain, c plant_sharpness.
  [[nodiscard]] at::Tensor loss(const TaskBatch& batch, double plant, double sharpness) const;

 private:
  struct Pass {
    at::Tensor residual_BTD;
    at::Tensor others_BTD, sources_BTD;  ///< what the last layer writes from either kind of keys
  };

  [[nodiscard]] const at::Tensor& weight(const std::string& name) const;
  [[nodiscard]] Pass run(const TaskBatch& batch, bool split) const;
  [[nodiscard]] at::Tensor unembed(const at::Tensor& residual_MD) const;
  [[nodiscard]] at::Tensor attend(int64_t layer,
                                  const at::Tensor& x_BTD,
                                  const at::Tensor& source_BTT,
                                  Pass* split) const;

  ToyConfig::Model config_;
  std::vector<std::pair<std::string, at::Tensor>> named_;
};

/// Of every RMS norm, as config.json states it.
inline constexpr double kNormEps = 1e-6;

}  // namespace lorsa::toy
