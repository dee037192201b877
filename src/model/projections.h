#pragma once

#include <ATen/core/Tensor.h>

#include "lorsa/kernels/attention.h"
#include "lorsa/kernels/rope.h"
#include "lorsa/model/dictionary.h"
#include "model/qk_norm.h"

namespace lorsa::model {

/// Queries, keys and values of a batch, and what their backward pass needs.
struct Projections {
  at::Tensor x_PD;
  at::Tensor q_BTSE, k_BTSE;  // after norm and RoPE; undefined for an SAE
  QkNorm q_norm, k_norm;      // empty without QK norm
  at::Tensor v_BTSG;
  kernels::RopeTable rope;
};

/// Queries and keys of x [B, T, D]; v_BTSG stays undefined. Throws ShapeError where x does not fit.
[[nodiscard]] Projections project_qk(const DictionaryShape& shape,
                                     const DictionaryWeights& weights,
                                     const at::Tensor& x_BTD);

/// Queries, keys and values.
[[nodiscard]] Projections project(const DictionaryShape& shape,
                                  const DictionaryWeights& weights,
                                  const at::Tensor& x_BTD);

/// Attention of the projections, virtual keys included; an SAE's z is v itself.
[[nodiscard]] kernels::AttentionResult attend(const DictionaryShape& shape,
                                              const DictionaryWeights& weights,
                                              const Projections& projections);

/// A gradient of queries or keys before RoPE brought before the norm, [P, S, E]; the norm's gain
/// gets its gradient in `grad_gain_SE`.
[[nodiscard]] at::Tensor before_norm(const QkNorm& norm,
                                     const at::Tensor& gain_SE,
                                     at::Tensor grad_BTSE,
                                     at::Tensor& grad_gain_SE);

}  // namespace lorsa::model
