#pragma once

#include <ATen/core/Tensor.h>

#include "lorsa/model/dictionary.h"

// The middle of a training step: from z to the loss and back to z.

namespace lorsa::model {

/// Gradient of z: at the kept heads, or of all heads where many act.
struct ZGradient {
  at::Tensor grad_PK, head_PK;
  at::Tensor grad_PH;  ///< undefined where the other two are defined

  [[nodiscard]] bool is_dense() const { return grad_PH.defined(); }

  /// Sum over the OV heads of every QK head of gradient times z, [P, S].
  [[nodiscard]] at::Tensor dot_with(const at::Tensor& z_PH, int64_t num_qk_heads) const;
};

/// One batch as the decoder sees it, flattened.
struct DecodeTask {
  const DictionaryShape& shape;
  const DictionaryWeights& weights;
  const at::Tensor& z_PH;
  at::Tensor target_PD;
  at::Tensor scored_P;
  const StepOptions& options;
};

/// The most kept heads of a position that a device gathers rows of W_O for; past them products over
/// all heads, forwards and backwards, take less time.
[[nodiscard]] int64_t most_gathered_heads(const DictionaryShape& shape, bool in_bfloat16);

/// Activations, loss, penalty, auxiliary loss and their gradients: fills `result` but for the
/// gradients of what makes z, and returns the gradient of z.
[[nodiscard]] ZGradient decode(const DecodeTask& task, StepResult& result);

}  // namespace lorsa::model
