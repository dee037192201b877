#include "model/selection.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "lorsa/core/error.h"

namespace lorsa::model {
namespace {

at::Tensor positive_scores(const at::Tensor& z_PH,
                           const at::Tensor& norm_H,
                           const at::Tensor& eligible_P) {
  at::Tensor score_PH = z_PH.clamp_min(0) * norm_H;
  if (eligible_P.defined()) {
    score_PH.mul_(eligible_P.unsqueeze(1));
  }
  return score_PH;
}

int64_t num_eligible(const at::Tensor& z_PH, const at::Tensor& eligible_P) {
  return eligible_P.defined() ? eligible_P.sum().item<int64_t>() : z_PH.size(0);
}

/// The k-th largest of the scores, which are at least 0; 0 for k = 0 or too few positive ones.
double kth_score(const at::Tensor& score_PH, int64_t k) {
  // Only positive scores can be kept, and they are few among many.
  const at::Tensor positive = score_PH.masked_select(score_PH > 0);
  const int64_t n = positive.numel();
  if (k < 1 || n < k) {
    return 0.0;
  }
  return std::get<0>(at::kthvalue(positive, n - k + 1)).item<double>();
}

/// z where the entry is among the k best of all positions, else 0.
at::Tensor batch_top_k(const at::Tensor& z_PH,
                       const at::Tensor& norm_H,
                       const at::Tensor& eligible_P,
                       int64_t k) {
  const at::Tensor score_PH = positive_scores(z_PH, norm_H, eligible_P);
  const double lowest = kth_score(score_PH, k);
  if (lowest <= 0.0) {
    return z_PH * (score_PH > 0);
  }
  at::Tensor kept_PH = score_PH > lowest;
  const int64_t left = k - kept_PH.sum().item<int64_t>();
  const at::Tensor equal = (score_PH == lowest).view({-1}).nonzero().view({-1});
  kept_PH.view({-1}).index_fill_(0, equal.narrow(0, 0, left), true);
  return z_PH * kept_PH;
}

/// The entries other than 0 of every row of a_PH, which are at least 0, best score first.
kernels::TopK sparse_rows(const at::Tensor& a_PH,
                          const at::Tensor& norm_H,
                          kernels::ScoreCheck check) {
  const int64_t most =
      a_PH.size(0) == 0 ? 0 : (a_PH > 0).sum(at::IntArrayRef{1}).max().item<int64_t>();
  return kernels::top_k_heads(a_PH, norm_H, std::max<int64_t>(most, 1),
                              kernels::Selection::kPositive, check);
}

}  // namespace

bool is_sparse(Activation activation) {
  switch (activation) {
    case Activation::kTopK:
    case Activation::kTopKSigned:
    case Activation::kBatchTopK:
      return true;
    case Activation::kRelu:
    case Activation::kJumpRelu:
      return false;
  }
  throw Error("unknown activation");
}

at::Tensor dense_activations(const DictionaryShape& shape,
                             const DictionaryWeights& weights,
                             const at::Tensor& z_PH,
                             const at::Tensor& norm_H) {
  at::Tensor positive_PH = z_PH.clamp_min(0);
  if (shape.activation == Activation::kRelu) {
    return positive_PH;
  }
  return positive_PH * (positive_PH * norm_H > weights.log_threshold.exp());
}

double batch_threshold(const at::Tensor& z_PH,
                       const at::Tensor& norm_H,
                       const at::Tensor& eligible_P,
                       int64_t k) {
  return kth_score(positive_scores(z_PH, norm_H, eligible_P), k);
}

kernels::TopK keep_heads(const DictionaryShape& shape,
                         const DictionaryWeights& weights,
                         const at::Tensor& z_PH,
                         const at::Tensor& norm_H,
                         int64_t top_k,
                         const at::Tensor& eligible_P,
                         kernels::ScoreCheck check) {
  switch (shape.activation) {
    case Activation::kTopK:
      return kernels::top_k_heads(z_PH, norm_H, top_k, kernels::Selection::kPositive, check);
    case Activation::kTopKSigned:
      return kernels::top_k_heads(z_PH, norm_H, top_k, kernels::Selection::kSigned, check);
    case Activation::kBatchTopK: {
      const int64_t k = top_k * num_eligible(z_PH, eligible_P);
      return sparse_rows(batch_top_k(z_PH, norm_H, eligible_P, k), norm_H, check);
    }
    case Activation::kRelu:
    case Activation::kJumpRelu:
      return sparse_rows(dense_activations(shape, weights, z_PH, norm_H), norm_H, check);
  }
  throw Error("unknown activation");
}

}  // namespace lorsa::model
