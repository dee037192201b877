#include "lorsa/metrics/error_correlation.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include "lorsa/core/error.h"

namespace lorsa::metrics {
namespace {

void check_shapes(const std::vector<at::Tensor>& y_BTD,
                  const at::Tensor& t_BTD,
                  const at::Tensor& scored_BT,
                  int64_t num_reconstructions) {
  LORSA_CHECK(static_cast<int64_t>(y_BTD.size()) == num_reconstructions, ShapeError,
              "expected {} reconstructions, found {}", num_reconstructions, y_BTD.size());
  LORSA_CHECK(t_BTD.dim() == 3 && scored_BT.sizes() == t_BTD.sizes().slice(0, 2) &&
                  scored_BT.scalar_type() == at::kBool,
              ShapeError,
              "error correlations: expected targets [B, T, D] and scored [B, T] of bool, found {} "
              "and {} {}",
              t_BTD.sizes(), scored_BT.sizes(), scored_BT.scalar_type());
  for (const at::Tensor& y : y_BTD) {
    LORSA_CHECK(y.sizes() == t_BTD.sizes(), ShapeError,
                "reconstructions {} differ in shape from targets {}", y.sizes(), t_BTD.sizes());
  }
}

}  // namespace

ErrorCorrelationMeter::ErrorCorrelationMeter(int64_t num_reconstructions)
    : num_reconstructions_(num_reconstructions) {
  LORSA_CHECK(num_reconstructions > 0, ShapeError,
              "error correlations: expected reconstructions, found {}", num_reconstructions);
  const int64_t C = num_reconstructions;
  cosine_CC_ = at::zeros({C, C}, at::kDouble);
  product_CC_ = at::zeros({C, C}, at::kDouble);
  shifted_C_ = at::zeros({C}, at::kDouble);
  shifted_product_CC_ = at::zeros({C, C}, at::kDouble);
}

void ErrorCorrelationMeter::add(const std::vector<at::Tensor>& y_BTD,
                                const at::Tensor& t_BTD,
                                const at::Tensor& scored_BT) {
  check_shapes(y_BTD, t_BTD, scored_BT, num_reconstructions_);
  const c10::NoGradGuard no_grad;
  const at::Tensor t_nD = t_BTD.index({scored_BT}).to(at::kDouble);
  if (t_nD.size(0) == 0) {
    return;
  }
  num_tokens_ += t_nD.size(0);
  std::vector<at::Tensor> errors;
  for (const at::Tensor& y : y_BTD) {
    errors.push_back(t_nD - y.index({scored_BT}).to(at::kDouble));
  }
  const at::Tensor e_nCD = at::stack(errors, 1);
  const at::Tensor product_nCC = at::bmm(e_nCD, e_nCD.transpose(1, 2));
  const at::Tensor square_nC = product_nCC.diagonal(0, 1, 2);
  const at::Tensor norms_nCC = (square_nC.unsqueeze(2) * square_nC.unsqueeze(1)).sqrt();
  const at::Tensor cosine_nCC =
      at::where(norms_nCC > 0, product_nCC / norms_nCC, at::zeros_like(norms_nCC));
  cosine_CC_ += cosine_nCC.sum(0).cpu();
  product_CC_ += product_nCC.sum(0).cpu();
  if (!shift_C_.defined()) {
    // About this mean, as in ReconstructionMeter: squared norms vary little beside their size.
    shift_C_ = square_nC.mean(0).cpu();
  }
  const at::Tensor shifted_nC = square_nC - shift_C_.to(square_nC.device());
  shifted_C_ += shifted_nC.sum(0).cpu();
  shifted_product_CC_ += at::mm(shifted_nC.t(), shifted_nC).cpu();
}

ErrorCorrelationReport ErrorCorrelationMeter::report() const {
  const auto n = static_cast<double>(num_tokens_);
  const auto outer_root = [](const at::Tensor& diagonal_C) {
    return at::outer(diagonal_C, diagonal_C).sqrt();
  };
  ErrorCorrelationReport report;
  report.num_tokens = num_tokens_;
  report.cosine_CC = cosine_CC_ / n;
  const at::Tensor covariance_CC = shifted_product_CC_ - at::outer(shifted_C_, shifted_C_) / n;
  report.squared_norm_correlation_CC = covariance_CC / outer_root(covariance_CC.diagonal());
  report.explained_CC = (product_CC_ / outer_root(product_CC_.diagonal())).square();
  return report;
}

}  // namespace lorsa::metrics
