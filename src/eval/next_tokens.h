#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

// Sums over next-token predictions, shared by the meters of the language model.

namespace lorsa::eval {

/// The predictions of a row that count: where they are made and the tokens that come.
struct NextTokens {
  at::Tensor position_n;
  at::Tensor token_n;

  [[nodiscard]] int64_t count() const { return position_n.numel(); }

  /// The same in pieces whose logits are at most 2^23 values: those of one row of 256 tokens take
  /// 50 MB at a vocabulary of 49,152.
  [[nodiscard]] std::vector<NextTokens> pieces(int64_t vocabulary) const;
};

/// Of tokens_T and counted_T [T] (bool: the prediction of this token counts), on `device`. A row's
/// first token is predicted nowhere.
[[nodiscard]] NextTokens next_tokens(const at::Tensor& tokens_T,
                                     const at::Tensor& counted_T,
                                     c10::Device device);

/// Log-probabilities in double.
[[nodiscard]] at::Tensor log_probabilities(const at::Tensor& logits_nV);

/// Sum over the given rows of -log p(next), double.
[[nodiscard]] double cross_entropy_sum(const at::Tensor& log_p_nV, const at::Tensor& next_n);

/// Sum over the given rows of KL(p || q), double.
[[nodiscard]] double divergence_sum(const at::Tensor& log_p_nV, const at::Tensor& log_q_nV);

}  // namespace lorsa::eval
