#include "lorsa/metrics/usage.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "lorsa/core/error.h"

namespace lorsa::metrics {
namespace {

constexpr double kRareRate = 1e-5;
constexpr double kDenseRate = 1e-1;
constexpr int kLowestDecade = -7;
constexpr int kBinsPerDecade = 2;

void check_shapes(const at::Tensor& value_PK,
                  const at::Tensor& head_PK,
                  const at::Tensor& scored_P) {
  LORSA_CHECK(value_PK.dim() == 2 && head_PK.sizes() == value_PK.sizes(), ShapeError,
              "expected values and heads [P, K], found {}, {}", value_PK.sizes(), head_PK.sizes());
  LORSA_CHECK(scored_P.dim() == 1 && scored_P.size(0) == value_PK.size(0), ShapeError,
              "scored: expected [{}], found {}", value_PK.size(0), scored_P.sizes());
  LORSA_CHECK(scored_P.scalar_type() == at::kBool &&
                  at::isIntegralType(head_PK.scalar_type(), /*includeBool=*/false),
              ShapeError, "expected scored of bool and heads of an integer type, found {} and {}",
              scored_P.dtype(), head_PK.dtype());
}

// Heads per bin of log10(rate).
std::vector<int64_t> count_rates(const at::Tensor& rate_H, int64_t num_bins) {
  std::vector<int64_t> counts(static_cast<size_t>(num_bins));
  const double* rates = rate_H.const_data_ptr<double>();
  for (int64_t head = 0; head < rate_H.numel(); ++head) {
    if (rates[head] > 0.0) {
      const double place = std::floor((std::log10(rates[head]) - kLowestDecade) * kBinsPerDecade);
      const auto last = static_cast<double>(num_bins - 1);
      ++counts[static_cast<size_t>(std::clamp(place, 0.0, last))];
    }
  }
  return counts;
}

}  // namespace

UsageMeter::UsageMeter(int64_t num_heads) {
  LORSA_CHECK(num_heads > 0, ShapeError, "usage: expected at least one head, found {}", num_heads);
  count_H_ = at::zeros({num_heads}, at::kLong);
}

void UsageMeter::add(const at::Tensor& value_PK,
                     const at::Tensor& head_PK,
                     const at::Tensor& scored_P) {
  check_shapes(value_PK, head_PK, scored_P);
  const int64_t num_heads = count_H_.numel();
  const at::Tensor acts_PK = (value_PK != 0).logical_and_(scored_P.unsqueeze(1));
  const at::Tensor acting = head_PK.masked_select(acts_PK).to(at::kLong);
  if (acting.numel() > 0) {
    const auto lowest = acting.min().item<int64_t>();
    const auto highest = acting.max().item<int64_t>();
    LORSA_CHECK(lowest >= 0 && highest < num_heads, ShapeError, "head {} is outside [0, {})",
                lowest < 0 ? lowest : highest, num_heads);
    count_H_ = count_H_.to(acting.device()) + at::bincount(acting, {}, num_heads);
  }
  num_tokens_ += scored_P.sum().item<int64_t>();
}

UsageReport UsageMeter::report() const {
  const at::Tensor count_H = count_H_.cpu();
  const auto num_tokens = static_cast<double>(num_tokens_);
  const auto share = [&](const at::Tensor& which_H) {
    return which_H.sum().item<double>() / static_cast<double>(count_H.numel());
  };
  UsageReport report;
  report.num_tokens = num_tokens_;
  report.l0 = count_H.sum().item<double>() / num_tokens;
  report.rate_H = count_H.to(at::kDouble) / num_tokens;
  report.dead_fraction = share(count_H == 0);
  report.rare_fraction = share((report.rate_H > 0).logical_and_(report.rate_H < kRareRate));
  report.dense_fraction = share(report.rate_H > kDenseRate);
  constexpr int64_t kNumBins = -kLowestDecade * kBinsPerDecade;
  for (int64_t edge = 0; edge <= kNumBins; ++edge) {
    report.histogram_edges.push_back(kLowestDecade + static_cast<double>(edge) / kBinsPerDecade);
  }
  report.histogram_counts = count_rates(report.rate_H, kNumBins);
  return report;
}

}  // namespace lorsa::metrics
