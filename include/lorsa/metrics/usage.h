#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "lorsa/core/api.h"

namespace lorsa::metrics {

/// How often heads act, over every scored token that was added. Without any
/// token, l0 and rates are NaN and every head is dead.
struct UsageReport {
  int64_t num_tokens = 0;      ///< the window
  double l0 = 0.0;             ///< mean number of heads with a non-zero activation per scored token
  double dead_fraction = 0.0;  ///< share of heads without an activation in the window
  double rare_fraction = 0.0;  ///< share of heads with a rate in (0, 1e-5)
  double dense_fraction = 0.0;          ///< share of heads with a rate > 1e-1
  at::Tensor rate_H;                    ///< [H] double on the CPU
  std::vector<double> histogram_edges;  ///< log10 of the rate, -7 .. 0 in half decades
  /// Heads whose rate lies in [edge i, edge i+1); the first bin also holds rarer heads and the last
  /// one the rate 1. Dead heads are in none.
  std::vector<int64_t> histogram_counts;
};

/// Counts activations.
class LORSA_API UsageMeter {
 public:
  explicit UsageMeter(int64_t num_heads);
  /// value_PK, head_PK [P, K] as top_k_heads gives them, scored_P [P] bool, all on one device. An
  /// entry counts if its value is not zero; a head stands at most once in a row. Throws ShapeError
  /// if shapes or dtypes differ or a head is outside [0, num_heads).
  void add(const at::Tensor& value_PK, const at::Tensor& head_PK, const at::Tensor& scored_P);
  [[nodiscard]] UsageReport report() const;

 private:
  int64_t num_tokens_ = 0;
  at::Tensor count_H_;  // [H] int64
};

}  // namespace lorsa::metrics
