#include "model/decoding.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "lorsa/core/error.h"
#include "model/dense_decoding.h"
#include "model/selection.h"

namespace lorsa::model {
namespace {

kernels::Selection selection_of(Activation activation) {
  return activation == Activation::kTopKSigned ? kernels::Selection::kSigned
                                               : kernels::Selection::kPositive;
}

/// z of `heads_n`, 0 where the head is kept already.
at::Tensor z_of_others(const at::Tensor& z_PH,
                       const at::Tensor& heads_n,
                       const kernels::TopK& kept) {
  at::Tensor z_Pn = z_PH.index_select(1, heads_n);
  at::Tensor place_H = at::full({z_PH.size(1)}, -1, heads_n.options());
  place_H.index_copy_(0, heads_n, at::arange(heads_n.size(0), heads_n.options()));
  const at::Tensor place_PK =
      place_H.index_select(0, kept.head_PK.view({-1}).to(at::kLong)).view_as(kept.head_PK);
  const at::Tensor hit = place_PK.ge(0).logical_and(kept.value_PK != 0);
  const at::Tensor entries = hit.nonzero();
  z_Pn.index_put_({entries.select(1, 0), place_PK.masked_select(hit)},
                  at::zeros({}, z_Pn.options()));
  return z_Pn;
}

/// AuxK (Gao et al. 2024): the best of the dead heads reconstruct what the kept ones leave of the
/// target. The residual and the selection are constants; gradients reach the dead heads and the QK
/// heads that they read through. (With the patterns held constant too, fvu was 0.451 instead of
/// 0.408 and no more heads revived: SmolLM2 layer 17, 400k tokens, November 2026.)
void add_auxiliary(const DecodeTask& task,
                   const at::Tensor& norm_H,
                   const at::Tensor& grad_y_PD,
                   StepResult& result,
                   ZGradient& d_z) {
  const StepOptions::Auxiliary& aux = task.options.auxiliary;
  const at::Tensor& dead = aux.dead_heads;
  if (!dead.defined() || dead.size(0) == 0 || aux.k == 0) {
    return;
  }
  const kernels::Selection selection = selection_of(task.shape.activation);
  kernels::TopK chosen =
      kernels::top_k_heads(z_of_others(task.z_PH, dead, result.kept), norm_H.index_select(0, dead),
                           std::min(aux.k, dead.size(0)), selection);
  chosen.head_PK = dead.index_select(0, chosen.head_PK.view({-1}).to(at::kLong))
                       .view_as(chosen.head_PK)
                       .to(at::kInt);
  // grad_y = 2 grad_scale (y - t) at scored positions.
  const at::Tensor residual_PD = grad_y_PD * (-0.5 / task.options.grad_scale);
  const double scale = aux.coefficient * task.options.grad_scale;
  // kPositive also where activations are signed: no gradient where a row is filled up with a head
  // that is kept already.
  const kernels::DecodeLoss decoded =
      kernels::sparse_decode_loss(chosen, task.weights.W_O, at::Tensor(), residual_PD,
                                  task.scored_P, scale, kernels::Selection::kPositive);
  const kernels::DecodeGradients d =
      kernels::sparse_decode_backward(chosen, decoded.grad_y_PD, task.shape.num_ov_heads);
  result.auxiliary_loss = decoded.squared_error * scale;
  result.gradients.W_O.add_(d.grad_W_O_HD);
  d_z.grad_PK = at::cat({d_z.grad_PK, decoded.grad_value_PK}, 1);
  d_z.head_PK = at::cat({d_z.head_PK, chosen.head_PK}, 1);
}

void count_active(const DecodeTask& task, StepResult& result) {
  const at::Tensor active_PK = (result.kept.value_PK != 0).logical_and(task.scored_P.unsqueeze(1));
  result.num_active = active_PK.sum();
  // Inactive entries count for a head past the last: to select the others is to wait for the
  // device.
  const int64_t H = task.shape.num_ov_heads;
  const at::Tensor head_PK =
      result.kept.head_PK.to(at::kLong).masked_fill_(active_PK.logical_not(), H);
  result.active_H = at::zeros({H + 1}, active_PK.options())
                        .index_fill_(0, head_PK.view({-1}), true)
                        .narrow(0, 0, H);
}

ZGradient decode_sparse(const DecodeTask& task, const at::Tensor& norm_H, StepResult& result) {
  const StepOptions& options = task.options;
  const int64_t top_k = options.top_k > 0 ? options.top_k : task.shape.top_k;
  result.kept = keep_heads(task.shape, task.weights, task.z_PH, norm_H, top_k, task.scored_P);
  const kernels::DecodeLoss decoded = kernels::sparse_decode_loss(
      result.kept, task.weights.W_O, task.weights.b_D, task.target_PD, task.scored_P,
      options.grad_scale, selection_of(task.shape.activation));
  kernels::DecodeGradients d =
      kernels::sparse_decode_backward(result.kept, decoded.grad_y_PD, task.shape.num_ov_heads);
  result.squared_error = decoded.squared_error;
  result.gradients.W_O = std::move(d.grad_W_O_HD);
  result.gradients.b_D = std::move(d.grad_b_D);
  ZGradient d_z{decoded.grad_value_PK, result.kept.head_PK, {}};
  add_auxiliary(task, norm_H, decoded.grad_y_PD, result, d_z);
  count_active(task, result);
  if (options.threshold == StepOptions::Threshold::kMeasure) {
    result.threshold =
        at::full_like(result.threshold, batch_threshold(task.z_PH, norm_H, task.scored_P,
                                                        top_k * result.num_scored.item<int64_t>()));
  }
  return d_z;
}

}  // namespace

at::Tensor ZGradient::dot_with(const at::Tensor& z_PH, int64_t num_qk_heads) const {
  const int64_t P = z_PH.size(0);
  const int64_t group = z_PH.size(1) / num_qk_heads;
  const at::ScalarType sums = z_PH.scalar_type() == at::kBFloat16 ? at::kFloat : z_PH.scalar_type();
  if (is_dense()) {
    return (grad_PH * z_PH).view({P, num_qk_heads, group}).sum(-1, /*keepdim=*/false, sums);
  }
  const at::Tensor head = head_PK.to(at::kLong);
  return at::zeros({P, num_qk_heads}, grad_PK.options().dtype(sums))
      .scatter_add_(1, at::floor_divide(head, group),
                    grad_PK.to(sums) * z_PH.gather(1, head).to(sums));
}

ZGradient decode(const DecodeTask& task, StepResult& result) {
  // b_D is in the dtype of sums.
  const at::Tensor norm_H =
      at::linalg_vector_norm(task.weights.W_O, 2, at::IntArrayRef{1},
                             /*keepdim=*/false, task.weights.b_D.scalar_type());
  result.num_scored = task.scored_P.sum();
  result.penalty = result.auxiliary_loss = result.threshold =
      at::zeros({}, norm_H.options().dtype(at::kDouble));
  if (is_sparse(task.shape.activation)) {
    return decode_sparse(task, norm_H, result);
  }
  ZGradient d_z;
  d_z.grad_PH = decode_dense(task, norm_H, result);
  return d_z;
}

}  // namespace lorsa::model
