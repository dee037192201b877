#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

// Sums over next-token predictions, shared by the meters of the language model.

namespace lorsa::eval {

/// The predictions of a row that count: where they are made and the tokens that come.
struct NextTokens {
  at::Tensor position_n;
  at::Tensor token_n;

  [[nodiscard]] int64_t count() const { return position_n.numel(); }
};

/// Of tokens_T and counted_T [T] (bool: the prediction of this token counts), on `device`. A row's
/// first token is predicted nowhere.
[[nodiscard]] NextTokens next_tokens(const at::Tensor& tokens_T,
                                     const at::Tensor& counted_T,
                                     c10::Device device);

/// Sum over the given rows of -log p(next), double.
[[nodiscard]] double cross_entropy_sum(const at::Tensor& log_p_nV, const at::Tensor& next_n);

/// Sum over the given rows of KL(p || q), double.
[[nodiscard]] double divergence_sum(const at::Tensor& log_p_nV, const at::Tensor& log_q_nV);

}  // namespace lorsa::eval
