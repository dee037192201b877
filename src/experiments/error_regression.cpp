#include "experiments/error_regression.h"

#include <ATen/ATen.h>

#include <tuple>

namespace lorsa::experiments {

void ScatterMeter::add(const at::Tensor& a_nD, const at::Tensor& b_nF) {
  if (!shift_a_D_.defined()) {
    shift_a_D_ = a_nD.mean(0);
    shift_b_F_ = b_nF.mean(0);
    sum_a_D_ = at::zeros_like(shift_a_D_);
    sum_b_F_ = at::zeros_like(shift_b_F_);
    product_DF_ = at::zeros({a_nD.size(1), b_nF.size(1)}, a_nD.options());
  }
  num_rows_ += a_nD.size(0);
  const at::Tensor a = a_nD - shift_a_D_;
  const at::Tensor b = b_nF - shift_b_F_;
  sum_a_D_ += a.sum(0);
  sum_b_F_ += b.sum(0);
  product_DF_.addmm_(a.t(), b);
}

at::Tensor ScatterMeter::scatter_DF() const {
  return product_DF_ - at::outer(sum_a_D_, sum_b_F_) / static_cast<double>(num_rows_);
}

at::Tensor ScatterMeter::mean_a_D() const {
  return shift_a_D_ + sum_a_D_ / static_cast<double>(num_rows_);
}

at::Tensor ScatterMeter::mean_b_F() const {
  return shift_b_F_ + sum_b_F_ / static_cast<double>(num_rows_);
}

void VectorRegression::fit(const at::Tensor& feature_nD, const at::Tensor& error_nD) {
  features_.add(feature_nD, feature_nD);
  errors_.add(feature_nD, error_nD);
}

void VectorRegression::solve() {
  at::Tensor scatter_DD = features_.scatter_DF();
  const at::Tensor cross_DD = errors_.scatter_DF();
  // D tokens of the mean variance trace / (n D) in every direction add trace / n.
  const double penalty =
      scatter_DD.trace().item<double>() / static_cast<double>(features_.num_rows());
  if (penalty > 0.0) {
    scatter_DD.diagonal().add_(penalty);
    weight_DD_ = at::cholesky_solve(cross_DD, at::linalg_cholesky(scatter_DD));
  } else {  // the feature never varies
    weight_DD_ = at::zeros_like(cross_DD);
  }
  intercept_D_ = errors_.mean_b_F() - at::mv(weight_DD_.t(), features_.mean_a_D());
  features_ = {};
  errors_ = {};
}

void VectorRegression::judge(const at::Tensor& feature_nD, const at::Tensor& error_nD) {
  const at::Tensor predicted_nD = at::addmm(intercept_D_, feature_nD, weight_DD_);
  left_ += (error_nD - predicted_nD).square_().sum().item<double>();
}

double VectorRegression::share(double variance) const {
  return 1.0 - left_ / variance;
}

double least_squares_share(const at::Tensor& fit_feature_nF,
                           const at::Tensor& fit_target_n,
                           const at::Tensor& judged_feature_mF,
                           const at::Tensor& judged_target_m) {
  constexpr double kIndependent = 1e-8;
  const at::Tensor mean_F = fit_feature_nF.mean(0);
  at::Tensor scale_F = (fit_feature_nF - mean_F).square().mean(0).sqrt();
  // A column that varies by rounding alone is the intercept once more.
  scale_F = at::where(scale_F > 1e-12 * mean_F.abs(), scale_F, at::full_like(scale_F, INFINITY));
  const double target_mean = fit_target_n.mean().item<double>();
  const at::Tensor weight_F =
      std::get<0>(at::linalg_lstsq((fit_feature_nF - mean_F) / scale_F,
                                   (fit_target_n - target_mean).unsqueeze(1), kIndependent,
                                   "gelsd"))
          .squeeze(1);
  const at::Tensor predicted_m =
      at::mv((judged_feature_mF - mean_F) / scale_F, weight_F) + target_mean;
  const double left = (judged_target_m - predicted_m).square().sum().item<double>();
  const double variance = (judged_target_m - judged_target_m.mean()).square().sum().item<double>();
  return 1.0 - left / variance;
}

}  // namespace lorsa::experiments
