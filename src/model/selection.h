#pragma once

#include <ATen/core/Tensor.h>

#include "lorsa/kernels/sparse.h"
#include "lorsa/model/dictionary.h"

// From z to activations: the score of a head is relu(z) |W_O| (|z| |W_O| for
// signed activations).

namespace lorsa::model {

/// Whether few heads act at every position, whatever the weights: what the sparse kernels are for.
[[nodiscard]] bool is_sparse(Activation activation);

/// Activations of all heads for the kinds that are not top-k's: relu, jumprelu. [P, H].
[[nodiscard]] at::Tensor dense_activations(const DictionaryShape& shape,
                                           const DictionaryWeights& weights,
                                           const at::Tensor& z_PH,
                                           const at::Tensor& norm_H);

/// The lowest of the k best scores of all `eligible_P` positions together; 0 where fewer than k are
/// positive. eligible_P [P] bool, undefined: all.
[[nodiscard]] double batch_threshold(const at::Tensor& z_PH,
                                     const at::Tensor& norm_H,
                                     const at::Tensor& eligible_P,
                                     int64_t k);

/// What a batch keeps, as the kernels take it: rows of the most heads that a position keeps, the
/// rest of a row activation 0. Waits for the device, but for the two kinds of topk with kLater.
///
/// batchtopk keeps the top_k * positions best scores of the eligible positions together (Bussmann
/// et al. 2024); equal scores: the earlier position, then the lower head.
[[nodiscard]] kernels::TopK keep_heads(const DictionaryShape& shape,
                                       const DictionaryWeights& weights,
                                       const at::Tensor& z_PH,
                                       const at::Tensor& norm_H,
                                       int64_t top_k,
                                       const at::Tensor& eligible_P,
                                       kernels::ScoreCheck check = kernels::ScoreCheck::kNow);

}  // namespace lorsa::model
