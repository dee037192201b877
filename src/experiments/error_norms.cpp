#include "experiments/error_norms.h"

#include <ATen/ATen.h>

#include <cmath>
#include <numbers>
#include <tuple>

#include "experiments/error_regression.h"

namespace lorsa::experiments {
namespace {

constexpr int64_t kNormBins = 20;
constexpr int64_t kPositionWaves = 2;

using Group = std::pair<std::string, at::Tensor>;  // name and columns [n, F]

at::Tensor position_columns(const at::Tensor& position_n, int64_t context_length) {
  const at::Tensor p = position_n.to(at::kDouble);
  const at::Tensor share = p / static_cast<double>(context_length);
  std::vector<at::Tensor> columns = {share, p.log1p()};
  for (int64_t k = 1; k <= kPositionWaves; ++k) {
    const at::Tensor angle = share * (2.0 * std::numbers::pi * static_cast<double>(k));
    columns.push_back(angle.sin());
    columns.push_back(angle.cos());
  }
  return at::stack(columns, 1);
}

/// log(1 + how often each of token_n stands in counted_n).
at::Tensor log_counts(const at::Tensor& token_n, const at::Tensor& counted_n) {
  const int64_t num_ids =
      std::max(token_n.max().item<int64_t>(), counted_n.max().item<int64_t>()) + 1;
  const at::Tensor count_V = at::bincount(counted_n, {}, num_ids);
  return count_V.index_select(0, token_n).to(at::kDouble).log1p();
}

std::vector<Group> groups(const TokenTable& table,
                          const at::Tensor& counted_n,
                          int64_t context_length) {
  std::vector<Group> result = {
      {"reference_error", table.reference_n.square().unsqueeze(1)},
      {"target_norm", at::stack({table.target_n, table.target_n.square()}, 1)},
      {"position", position_columns(table.position_n, context_length)},
      {"token_frequency", log_counts(table.token_n, counted_n).unsqueeze(1)},
      {"attention_entropy", table.entropy_nN}};
  std::vector<at::Tensor> all;
  for (const Group& group : result) {
    all.push_back(group.second);
  }
  result.emplace_back("all", at::cat(all, 1));
  return result;
}

}  // namespace

void TokenTableBuilder::add(const ErrorBatch& batch) {
  const auto norm = [](const at::Tensor& rows_nD) {
    return at::linalg_vector_norm(rows_nD, 2, at::IntArrayRef{1}).cpu();
  };
  parts_.push_back({norm(batch.error_nD), norm(batch.reference_nD), norm(batch.target_nD),
                    batch.position_n.cpu(), batch.token_n.cpu(), batch.entropy_nN.cpu()});
}

TokenTable TokenTableBuilder::table() const {
  if (parts_.empty()) {
    return {};
  }
  const auto joined = [&](at::Tensor TokenTable::*column) {
    std::vector<at::Tensor> values;
    for (const TokenTable& part : parts_) {
      values.push_back(part.*column);
    }
    return at::cat(values);
  };
  return {joined(&TokenTable::error_n),  joined(&TokenTable::reference_n),
          joined(&TokenTable::target_n), joined(&TokenTable::position_n),
          joined(&TokenTable::token_n),  joined(&TokenTable::entropy_nN)};
}

std::vector<std::pair<std::string, double>> norm_shares(const TokenTable& fit,
                                                        const TokenTable& judged,
                                                        int64_t context_length) {
  const std::vector<Group> fit_groups = groups(fit, fit.token_n, context_length);
  const std::vector<Group> judged_groups = groups(judged, fit.token_n, context_length);
  std::vector<std::pair<std::string, double>> shares;
  for (size_t i = 0; i < fit_groups.size(); ++i) {
    shares.emplace_back(fit_groups[i].first,
                        least_squares_share(fit_groups[i].second, fit.error_n.square(),
                                            judged_groups[i].second, judged.error_n.square()));
  }
  return shares;
}

std::vector<ErrorAnalysis::Bin> bins_by_target_norm(const TokenTable& judged) {
  const at::Tensor order_n =
      std::get<1>(at::sort(judged.target_n, /*stable=*/true, /*dim=*/0, /*descending=*/false));
  const int64_t n = judged.num_tokens();
  std::vector<ErrorAnalysis::Bin> bins;
  for (int64_t bin = 0; bin < kNormBins; ++bin) {
    const int64_t first = bin * n / kNormBins, last = (bin + 1) * n / kNormBins;
    if (first == last) {
      continue;
    }
    const at::Tensor tokens = order_n.slice(0, first, last);
    const auto mean = [&](const at::Tensor& values) {
      return values.index_select(0, tokens).mean().item<double>();
    };
    bins.push_back({mean(judged.target_n), mean(judged.error_n), mean(judged.reference_n)});
  }
  return bins;
}

std::pair<double, double> log_log(const TokenTable& judged) {
  const at::Tensor both_n = (judged.target_n > 0).logical_and(judged.error_n > 0);
  const at::Tensor x = judged.target_n.index({both_n}).log();
  const at::Tensor y = judged.error_n.index({both_n}).log();
  const at::Tensor from_x = x - x.mean(), from_y = y - y.mean();
  const double xy = (from_x * from_y).sum().item<double>();
  const double xx = from_x.square().sum().item<double>();
  const double yy = from_y.square().sum().item<double>();
  return {xy / xx, xy / std::sqrt(xx * yy)};
}

}  // namespace lorsa::experiments
