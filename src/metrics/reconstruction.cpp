#include "lorsa/metrics/reconstruction.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <cmath>

#include "lorsa/core/error.h"

namespace lorsa::metrics {
namespace {

// Elements of a block in double. On the CPU a block stays in a core's cache through all passes and
// below ATen's grain of 32,768 elements: splitting such short passes over threads costs more than
// it brings (D 576 on a busy 2-core x86: 87k tokens/s at 2^15, 37k at 2^17, 11k at 2^19; November
// 2026). On a device a block only bounds the memory of the double copies.
int64_t block_elements(const at::Tensor& tensor) {
  return tensor.is_cpu() ? int64_t{1} << 15 : int64_t{1} << 26;
}

// |x|^2 along the last dimension.
at::Tensor square_norm(const at::Tensor& x) {
  return at::linalg_vector_norm(x, 2, at::IntArrayRef{-1}).square_();
}

void check_shapes(const at::Tensor& y_BTD,
                  const at::Tensor& t_BTD,
                  const at::Tensor& scored_BT,
                  int64_t context_length,
                  int64_t d_model) {
  LORSA_CHECK(t_BTD.dim() == 3 && t_BTD.size(1) == context_length && t_BTD.size(2) == d_model,
              ShapeError, "targets: expected [B, {}, {}], not {}", context_length, d_model,
              t_BTD.sizes());
  LORSA_CHECK(y_BTD.sizes() == t_BTD.sizes(), ShapeError,
              "reconstructions {} differ in shape from targets {}", y_BTD.sizes(), t_BTD.sizes());
  LORSA_CHECK(scored_BT.sizes() == t_BTD.sizes().slice(0, 2), ShapeError,
              "scored: expected {}, found {}", t_BTD.sizes().slice(0, 2), scored_BT.sizes());
  LORSA_CHECK(y_BTD.is_floating_point() && t_BTD.is_floating_point(), ShapeError,
              "expected floating point y and t, found {} and {}", y_BTD.dtype(), t_BTD.dtype());
  LORSA_CHECK(scored_BT.scalar_type() == at::kBool, ShapeError, "scored: expected bool, not {}",
              scored_BT.dtype());
  LORSA_CHECK(y_BTD.device() == t_BTD.device() && scored_BT.device() == t_BTD.device(), ShapeError,
              "expected one device, found {}, {} and {}", y_BTD.device(), t_BTD.device(),
              scored_BT.device());
}

}  // namespace

ReconstructionMeter::ReconstructionMeter(int64_t context_length, int64_t d_model)
    : context_length_(context_length), d_model_(d_model) {
  LORSA_CHECK(
      context_length > 0 && d_model > 0, ShapeError,
      "reconstruction metrics: expected positive sizes, found context length {} and width {}",
      context_length, d_model);
  totals_ = at::zeros({3}, at::kDouble);
  count_T_ = at::zeros({context_length}, at::kDouble);
  error_T_ = at::zeros({context_length}, at::kDouble);
  shifted_square_T_ = at::zeros({context_length}, at::kDouble);
  shifted_sum_TD_ = at::zeros({context_length, d_model}, at::kDouble);
}

void ReconstructionMeter::add(const at::Tensor& y_BTD,
                              const at::Tensor& t_BTD,
                              const at::Tensor& scored_BT) {
  check_shapes(y_BTD, t_BTD, scored_BT, context_length_, d_model_);
  if (!scored_BT.any().item<bool>()) {
    return;
  }
  const c10::NoGradGuard no_grad;
  for (at::Tensor* sum : {&totals_, &count_T_, &error_T_, &shifted_square_T_, &shifted_sum_TD_}) {
    *sum = sum->to(t_BTD.device());
  }
  if (!shift_D_.defined()) {
    // Variances are taken about this mean: without it, targets with a large mean would lose
    // their variance to cancellation in sum|t|^2 - |sum t|^2 / n.
    shift_D_ = t_BTD.index({scored_BT}).mean(0, false, at::kDouble);
  }
  shift_D_ = shift_D_.to(t_BTD.device());
  const int64_t tokens = std::max<int64_t>(1, block_elements(t_BTD) / d_model_);
  const int64_t positions = std::min(tokens, context_length_);
  const int64_t rows = std::max<int64_t>(1, tokens / positions);
  for (int64_t row = 0; row < t_BTD.size(0); row += rows) {
    for (int64_t position = 0; position < context_length_; position += positions) {
      const auto block = [&](const at::Tensor& tensor) {
        return tensor.slice(0, row, row + rows).slice(1, position, position + positions);
      };
      add_block(block(y_BTD), block(t_BTD), block(scored_BT), position);
    }
  }
}

void ReconstructionMeter::add_block(const at::Tensor& y_BTD,
                                    const at::Tensor& t_BTD,
                                    const at::Tensor& scored_BT,
                                    int64_t first_position) {
  // Selected, not multiplied: 0 * NaN is NaN.
  const at::Tensor keep_BT1 = scored_BT.unsqueeze(-1);
  const at::Tensor zero = at::zeros({}, t_BTD.options().dtype(at::kDouble));
  const at::Tensor t = at::where(keep_BT1, t_BTD.to(at::kDouble), zero);
  const at::Tensor y = at::where(keep_BT1, y_BTD.to(at::kDouble), zero);
  const at::Tensor shifted = at::where(keep_BT1, t - shift_D_, zero);
  const at::Tensor error_BT = square_norm(t - y);
  const at::Tensor target_BT = square_norm(t);
  const at::Tensor product_BT = (t * y).sum(-1);

  // Tokens that are not scored are zero vectors by now and drop out with the other zero targets.
  const at::Tensor has_ratio_BT = target_BT > 0;
  const at::Tensor ratio_BT = at::where(has_ratio_BT, (error_BT / target_BT).sqrt(), zero);
  const at::Tensor norms_BT = (target_BT * square_norm(y)).sqrt();
  const at::Tensor cosine_BT = at::where(norms_BT > 0, product_BT / norms_BT, zero);
  totals_ += at::stack({ratio_BT.sum(), has_ratio_BT.sum().to(at::kDouble), cosine_BT.sum()});

  const auto at_positions = [&](at::Tensor& sums) {
    return sums.slice(0, first_position, first_position + t_BTD.size(1));
  };
  at_positions(count_T_) += scored_BT.sum(0);
  at_positions(error_T_) += error_BT.sum(0);
  at_positions(shifted_square_T_) += square_norm(shifted).sum(0);
  at_positions(shifted_sum_TD_) += shifted.sum(0);
}

double ReconstructionMeter::fvu_of_positions(int64_t first, int64_t count) const {
  LORSA_CHECK(first >= 0 && count > 0 && first + count <= context_length_, ShapeError,
              "positions [{}, {}) are outside [0, {})", first, first + count, context_length_);
  const auto sum = [&](const at::Tensor& values_T) {
    return values_T.narrow(0, first, count).cpu().sum().item<double>();
  };
  const at::Tensor sum_D = shifted_sum_TD_.narrow(0, first, count).sum(0).cpu();
  // sum|t - mean|^2 = sum|t - s|^2 - |sum(t - s)|^2 / n for any s.
  const double variance =
      sum(shifted_square_T_) - square_norm(sum_D).item<double>() / sum(count_T_);
  return sum(error_T_) / variance;
}

ReconstructionReport ReconstructionMeter::report() const {
  const at::Tensor count_T = count_T_.cpu();
  const at::Tensor error_T = error_T_.cpu();
  const at::Tensor square_T = shifted_square_T_.cpu();
  const at::Tensor sum_TD = shifted_sum_TD_.cpu();
  const at::Tensor totals = totals_.cpu();
  const double count = count_T.sum().item<double>();
  const at::Tensor variance_T = square_T - square_norm(sum_TD) / count_T;

  ReconstructionReport report;
  report.num_tokens = static_cast<int64_t>(count);
  report.fvu = fvu_of_positions(0, context_length_);
  report.explained_variance = 1.0 - report.fvu;
  report.mse = error_T.sum().item<double>() / (count * static_cast<double>(d_model_));
  report.l2_error_ratio = totals[0].item<double>() / totals[1].item<double>();
  report.cosine = totals[2].item<double>() / count;
  report.fvu_per_position = (error_T / variance_T).masked_fill(count_T < 2, NAN);
  return report;
}

}  // namespace lorsa::metrics
