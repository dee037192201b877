// With s = a |W_O| the lengths of the contributions, summed over scored positions and heads:
//   l1    sum s                          (Bricken et al. 2023, lengths instead of activations)
//   tanh  sum tanh(c s)                  (Jermyn et al. 2024)
//   l0    number of heads that act       (Rajamanoharan et al. 2024; reaches thresholds only)
// jumprelu: a = z where relu(z) |W_O| > theta. The step's derivative is that of a straight-through
// rectangle of width w: d a / d theta = -(theta / |W_O|) / w within theta +- w/2, and
// d l0 / d theta = -1 / w there.
#include "model/dense_decoding.h"

#include <ATen/ATen.h>

#include <utility>

#include "kernels/product.h"
#include "lorsa/core/error.h"
#include "model/selection.h"

namespace lorsa::model {
namespace {

/// One over the norm; 0 for a head that writes nothing.
at::Tensor inverse_of(const at::Tensor& norm_H) {
  return at::where(norm_H > 0, norm_H.reciprocal(), at::zeros_like(norm_H));
}

/// Adds the penalty to the loss and its gradients to W_O's and to `d_a_PH`.
void add_penalty(const DecodeTask& task,
                 const at::Tensor& norm_H,
                 const at::Tensor& a_PH,
                 StepResult& result,
                 at::Tensor& d_a_PH) {
  const StepOptions::Penalty& penalty = task.options.penalty;
  if (penalty.kind == PenaltyKind::kNone || penalty.scale == 0.0) {
    return;
  }
  const at::Tensor weight_P1 = task.scored_P.to(a_PH.scalar_type()).unsqueeze(1) * penalty.scale;
  if (penalty.kind == PenaltyKind::kL0) {
    result.penalty = ((a_PH > 0) * weight_P1).sum(at::kDouble);
    return;
  }
  const at::Tensor s_PH = a_PH * norm_H;
  at::Tensor d_s_PH;
  if (penalty.kind == PenaltyKind::kL1) {
    result.penalty = (s_PH * weight_P1).sum(at::kDouble);
    d_s_PH = weight_P1.expand_as(s_PH);
  } else {
    const at::Tensor tanh_PH = at::tanh(s_PH * penalty.stretch);
    result.penalty = (tanh_PH * weight_P1).sum(at::kDouble);
    d_s_PH = (1.0 - tanh_PH.square()) * weight_P1 * penalty.stretch;
  }
  d_a_PH.addcmul_(d_s_PH, norm_H.unsqueeze(0));
  const at::Tensor d_norm_H = (d_s_PH * a_PH).sum(0);
  result.gradients.W_O.addcmul_((d_norm_H * inverse_of(norm_H)).unsqueeze(1), task.weights.W_O);
}

at::Tensor log_threshold_gradient(const DecodeTask& task,
                                  const at::Tensor& norm_H,
                                  const at::Tensor& d_a_PH) {
  const double window = task.options.jumprelu_window;
  const at::Tensor threshold_H = task.weights.log_threshold.exp();
  const at::Tensor distance_PH = task.z_PH * norm_H - threshold_H;
  const at::Tensor inside_PH = (distance_PH.abs() <= 0.5 * window).logical_and(task.z_PH > 0);
  at::Tensor d_step_PH = d_a_PH * (threshold_H * inverse_of(norm_H));
  if (task.options.penalty.kind == PenaltyKind::kL0) {
    d_step_PH.add_(task.scored_P.to(d_a_PH.scalar_type()).unsqueeze(1) *
                   task.options.penalty.scale);
  }
  return (d_step_PH * inside_PH).sum(0) * threshold_H * (-1.0 / window);
}

}  // namespace

DenseLoss dense_loss(const at::Tensor& a_PH, const at::Tensor& W_O_HD, const Aim& aim) {
  at::Tensor error_PD = kernels::product_of_sums(a_PH, W_O_HD);
  if (aim.b_D.defined()) {
    error_PD.add_(aim.b_D);
  }
  error_PD.sub_(aim.target_PD).mul_(aim.scored_P.unsqueeze(1));
  DenseLoss loss;
  loss.squared_error = error_PD.square().sum(at::kDouble);
  const at::Tensor d_y_PD = error_PD.mul_(2.0 * aim.grad_scale);
  loss.grad_y_PD = d_y_PD.to(W_O_HD.scalar_type());
  loss.grad_W_O_HD = kernels::product_of_sums(a_PH.t(), loss.grad_y_PD);
  loss.grad_b_D = d_y_PD.sum(0);
  return loss;
}

at::Tensor decode_dense(const DecodeTask& task, const at::Tensor& norm_H, StepResult& result) {
  const DictionaryWeights& w = task.weights;
  const at::Tensor a_PH = dense_activations(task.shape, w, task.z_PH, norm_H);
  DenseLoss loss =
      dense_loss(a_PH, w.W_O, {w.b_D, task.target_PD, task.scored_P, task.options.grad_scale});
  result.squared_error = std::move(loss.squared_error);
  result.gradients.W_O = std::move(loss.grad_W_O_HD);
  result.gradients.b_D = std::move(loss.grad_b_D);
  at::Tensor d_a_PH = kernels::product_of_sums(loss.grad_y_PD, w.W_O.t());
  add_penalty(task, norm_H, a_PH, result, d_a_PH);
  if (task.shape.activation == Activation::kJumpRelu) {
    result.gradients.log_threshold = log_threshold_gradient(task, norm_H, d_a_PH);
  }
  const at::Tensor acts_PH = a_PH > 0;
  const at::Tensor counted_PH = acts_PH.logical_and(task.scored_P.unsqueeze(1));
  result.num_active = counted_PH.sum();
  result.active_H = counted_PH.any(0);
  return d_a_PH.mul_(acts_PH).to(task.z_PH.scalar_type());
}

}  // namespace lorsa::model
