#include "lorsa/eval/mhsa_comparison.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <limits>
#include <tuple>
#include <vector>

#include "lorsa/core/error.h"

namespace lorsa::eval {
namespace {

// QK patterns of one slice.
constexpr int64_t kSliceBytes = int64_t{256} << 20;
// Singular values below this share of the largest one are rounding.
constexpr double kRankTolerance = 1e-6;

/// The query positions of [.., T, T] that count, with the query first: [Q, n, T].
at::Tensor queries_first(const at::Tensor& pattern_nTT, const at::Tensor& query_Q) {
  return pattern_nTT.index_select(1, query_Q).transpose(0, 1);
}

}  // namespace

PatternMeter::PatternMeter(const model::Dictionary& dictionary, const kernels::Mhsa& layer)
    : dictionary_(dictionary), layer_(layer) {
  LORSA_CHECK(dictionary.shape().num_qk_heads > 0, ConfigError,
              "{} has no attention patterns to compare", dictionary.info().noun);
  const int64_t N = layer.num_heads();
  const int64_t S = dictionary.shape().num_qk_heads;
  const at::TensorOptions options = layer.W_Q.options().dtype(at::kDouble);
  divergence_NS_ = at::zeros({N, S}, options);
  first_mass_N_ = at::zeros({N}, options);
  first_mass_S_ = at::zeros({S}, options);
}

void PatternMeter::add(const at::Tensor& x_BTD, const at::Tensor& scored_BT) {
  LORSA_CHECK(x_BTD.dim() == 3 && scored_BT.sizes() == x_BTD.sizes().slice(0, 2) &&
                  scored_BT.scalar_type() == at::kBool,
              ShapeError,
              "patterns: expected inputs [B, T, D] and scored [B, T] of bool, found {} and {} {}",
              x_BTD.sizes(), scored_BT.sizes(), scored_BT.scalar_type());
  const at::NoGradGuard no_grad;
  num_rows_ += x_BTD.size(0);
  for (int64_t b = 0; b < x_BTD.size(0); ++b) {
    add_row(x_BTD.narrow(0, b, 1), scored_BT[b]);
  }
}

void PatternMeter::add_row(const at::Tensor& x_1TD, const at::Tensor& scored_T) {
  const at::Tensor query_Q = scored_T.slice(0, 1).nonzero().squeeze(1).add_(1);
  if (query_Q.numel() == 0) {
    return;
  }
  num_queries_ += query_Q.numel();
  // sum_j p (log p - log q) = sum_j p log p - sum_j p log q: the first term is the MHSA head's
  // alone, the second one product a query position.
  const at::Tensor p_QNT = queries_first(kernels::mhsa_patterns(layer_, x_1TD)[0], query_Q);
  const at::Tensor p = p_QNT.to(at::kDouble);
  first_mass_N_ += p.select(2, 0).sum(0);
  divergence_NS_ += at::xlogy(p, p).sum(at::IntArrayRef{0, 2}).unsqueeze(1);
  const int64_t T = x_1TD.size(1);
  const int64_t S = dictionary_.shape().num_qk_heads;
  const int64_t slice = std::max<int64_t>(1, kSliceBytes / (T * T * 4));
  for (int64_t first = 0; first < S; first += slice) {
    const int64_t count = std::min(slice, S - first);
    const at::Tensor log_q_QST =
        queries_first(dictionary_.qk_log_patterns(x_1TD, first, count)[0], query_Q);
    first_mass_S_.narrow(0, first, count) += log_q_QST.select(2, 0).to(at::kDouble).exp().sum(0);
    // Future sources have p = 0 and log q = -infinity; their product is to be 0.
    const at::Tensor finite_QST = log_q_QST.clamp_min(std::numeric_limits<float>::lowest());
    divergence_NS_.narrow(1, first, count) -=
        at::bmm(p, finite_QST.to(at::kDouble).transpose(1, 2)).sum(0);
  }
}

PatternReport PatternMeter::report() const {
  PatternReport report;
  report.num_rows = num_rows_;
  report.num_queries = num_queries_;
  const auto mean = [&](const at::Tensor& sum) {
    return (sum / static_cast<double>(num_queries_)).cpu();
  };
  report.divergence_NS = mean(divergence_NS_);
  report.first_mass_N = mean(first_mass_N_);
  report.first_mass_S = mean(first_mass_S_);
  report.closest_qk_N = report.divergence_NS.argmin(1);
  report.closest_mhsa_S = report.divergence_NS.argmin(0);
  report.fidelity = std::get<0>(report.divergence_NS.min(1)).mean().item<double>();
  return report;
}

at::Tensor output_shares(const model::Dictionary& dictionary, const kernels::Mhsa& layer) {
  const at::NoGradGuard no_grad;
  const at::Tensor W_HD = dictionary.weights().W_O.to(at::kDouble);
  const at::Tensor norm_H1 = at::linalg_vector_norm(W_HD, 2, at::IntArrayRef{1}, /*keepdim=*/true);
  const at::Tensor unit_HD = W_HD / at::where(norm_H1 > 0, norm_H1, at::ones_like(norm_H1));
  std::vector<at::Tensor> shares;
  for (int64_t n = 0; n < layer.num_heads(); ++n) {
    const at::Tensor W_AD = layer.W_O[n].to(at::kCPU, at::kDouble);
    const auto [unused, sigma_r, basis_rD] = at::linalg_svd(W_AD, /*full_matrices=*/false);
    const at::Tensor kept = sigma_r > kRankTolerance * sigma_r.max();
    shares.push_back(
        at::mm(unit_HD, basis_rD.index({kept}).t().to(unit_HD.device())).square_().sum(1));
  }
  return at::stack(shares, 1).cpu();
}

SpreadReport spread_of(const at::Tensor& share_HN, const at::Tensor& acts_H) {
  LORSA_CHECK(share_HN.dim() == 2 && acts_H.sizes() == share_HN.sizes().slice(0, 1) &&
                  acts_H.scalar_type() == at::kBool,
              ShapeError,
              "head spread: expected shares [H, N] and acts [H] of bool, found {} and {} {}",
              share_HN.sizes(), acts_H.sizes(), acts_H.scalar_type());
  const at::Tensor largest_H = share_HN.amax(1).to(at::kDouble);
  const at::Tensor largest_n = largest_H.masked_select(acts_H.logical_and(largest_H > 0));
  SpreadReport report;
  report.num_heads = largest_n.numel();
  report.head_spread = (largest_n < kOneHeadShare).to(at::kDouble).mean().item<double>();
  // Rounding may take a share over 1.
  const at::Tensor bin_n = (largest_n * kSpreadBins).to(at::kLong).clamp_max(kSpreadBins - 1);
  const at::Tensor counts = at::bincount(bin_n, {}, kSpreadBins);
  report.histogram_counts.assign(counts.const_data_ptr<int64_t>(),
                                 counts.const_data_ptr<int64_t>() + kSpreadBins);
  return report;
}

}  // namespace lorsa::eval
