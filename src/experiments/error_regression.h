#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace lorsa::experiments {

/// Accumulates sum (a - mean a)(b - mean b)^T over rows, in double: about the first batch's means,
/// so that little is lost where means are large beside deviations.
class ScatterMeter {
 public:
  void add(const at::Tensor& a_nD, const at::Tensor& b_nF);

  [[nodiscard]] int64_t num_rows() const { return num_rows_; }

  [[nodiscard]] at::Tensor scatter_DF() const;
  [[nodiscard]] at::Tensor mean_a_D() const;
  [[nodiscard]] at::Tensor mean_b_F() const;

 private:
  int64_t num_rows_ = 0;
  at::Tensor shift_a_D_, shift_b_F_;  // undefined until a row came
  at::Tensor sum_a_D_, sum_b_F_;
  at::Tensor product_DF_;
};

/// Ridge regression of error vectors on feature vectors, with an intercept that is not penalised
/// (ErrorAnalysis says with which penalty). fit() batch by batch, solve() once, then judge().
class VectorRegression {
 public:
  void fit(const at::Tensor& feature_nD, const at::Tensor& error_nD);
  void solve();
  void judge(const at::Tensor& feature_nD, const at::Tensor& error_nD);

  /// 1 - (what judge() found left) / `variance`, the sum of squares about the mean.
  [[nodiscard]] double share(double variance) const;

 private:
  ScatterMeter features_;
  ScatterMeter errors_;  // with features
  at::Tensor weight_DD_;
  at::Tensor intercept_D_;
  double left_ = 0.0;
};

/// Least squares of target_n on the columns of feature_nF and an intercept, judged on other tokens:
/// the share that ErrorAnalysis defines. Doubles on the CPU. Columns are standardised, and what
/// lies within 1e-8 of being a combination of others gets no weight of its own.
[[nodiscard]] double least_squares_share(const at::Tensor& fit_feature_nF,
                                         const at::Tensor& fit_target_n,
                                         const at::Tensor& judged_feature_mF,
                                         const at::Tensor& judged_target_m);

}  // namespace lorsa::experiments
