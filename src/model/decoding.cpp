#include "model/decoding.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <limits>
#include <utility>

#include "kernels/cuda_backend.h"
#include "kernels/product.h"
#include "kernels/shapes.h"
#include "lorsa/core/error.h"
#include "model/dense_decoding.h"
#include "model/selection.h"

namespace lorsa::model {
namespace {

kernels::Selection selection_of(Activation activation) {
  return activation == Activation::kTopKSigned ? kernels::Selection::kSigned
                                               : kernels::Selection::kPositive;
}

/// Kept heads against a target, and the way back.
struct KeptDecoding {
  kernels::DecodeLoss loss;
  kernels::DecodeGradients gradients;
};

/// What sparse_decode_loss() and sparse_decode_backward() give, by products over all heads.
KeptDecoding decode_by_products(const kernels::TopK& kept,
                                const at::Tensor& W_O_HD,
                                const Aim& aim,
                                kernels::Selection selection) {
  DenseLoss loss =
      dense_loss(kernels::scatter_kept(kept.value_PK, kept.head_PK, W_O_HD.size(0)), W_O_HD, aim);
  at::Tensor grad_value_PK =
      kernels::product_nt(loss.grad_y_PD, W_O_HD).gather(1, kept.head_PK.to(at::kLong));
  if (selection == kernels::Selection::kPositive) {
    grad_value_PK.masked_fill_(kept.value_PK == 0, 0.0);
  }
  return {{std::move(loss.grad_y_PD), std::move(grad_value_PK), std::move(loss.squared_error)},
          {std::move(loss.grad_W_O_HD), std::move(loss.grad_b_D)}};
}

bool by_products(const DecodeTask& task, int64_t top_k) {
  return kernels::runs_on_device(task.z_PH) &&
         top_k > most_gathered_heads(task.shape, task.z_PH.scalar_type() == at::kBFloat16);
}

KeptDecoding decode_kept(const DecodeTask& task,
                         const kernels::TopK& kept,
                         const Aim& aim,
                         kernels::Selection selection) {
  const at::Tensor& W_O = task.weights.W_O;
  if (by_products(task, kept.value_PK.size(1))) {
    return decode_by_products(kept, W_O, aim, selection);
  }
  kernels::DecodeLoss loss = kernels::sparse_decode_loss(kept, W_O, aim.b_D, aim.target_PD,
                                                         aim.scored_P, aim.grad_scale, selection);
  kernels::DecodeGradients gradients =
      kernels::sparse_decode_backward(kept, loss.grad_y_PD, task.shape.num_ov_heads);
  return {std::move(loss), std::move(gradients)};
}

/// z of `heads_n`, 0 where the head is kept already. Rows of n + 1 values, so that what else is
/// kept and what only fills up a row have a place to go: to leave them out would be to wait for the
/// device.
at::Tensor z_of_others(const at::Tensor& z_PH,
                       const at::Tensor& heads_n,
                       const kernels::TopK& kept) {
  const int64_t n = heads_n.size(0);
  at::Tensor z_Pn1 = z_PH.index_select(1, at::cat({heads_n, heads_n.narrow(0, 0, 1)}));
  at::Tensor place_H = at::full({z_PH.size(1)}, n, heads_n.options());
  place_H.index_copy_(0, heads_n, at::arange(n, heads_n.options()));
  at::Tensor place_PK = place_H.index_select(0, kept.head_PK.view({-1})).view_as(kept.head_PK);
  place_PK.masked_fill_(kept.value_PK == 0, n);
  return z_Pn1.scatter_(1, place_PK, 0.0).narrow(1, 0, n);
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
  // A score that is no number was one in the first selection already.
  kernels::TopK chosen =
      kernels::top_k_heads(z_of_others(task.z_PH, dead, result.kept), norm_H.index_select(0, dead),
                           std::min(aux.k, dead.size(0)), selection_of(task.shape.activation),
                           kernels::ScoreCheck::kLater);
  chosen.head_PK =
      dead.to(at::kInt).index_select(0, chosen.head_PK.view({-1})).view_as(chosen.head_PK);
  // grad_y = 2 grad_scale (y - t) at scored positions.
  const at::Tensor residual_PD = grad_y_PD * (-0.5 / task.options.grad_scale);
  const double scale = aux.coefficient * task.options.grad_scale;
  // kPositive also where activations are signed: no gradient where a row is filled up with a head
  // that is kept already.
  const KeptDecoding decoded =
      decode_kept(task, chosen, {at::Tensor(), residual_PD, task.scored_P, scale},
                  kernels::Selection::kPositive);
  result.auxiliary_loss = decoded.loss.squared_error * scale;
  result.gradients.W_O.add_(decoded.gradients.grad_W_O_HD);
  d_z.grad_PK = at::cat({d_z.grad_PK, decoded.loss.grad_value_PK}, 1);
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
  const DictionaryShape& shape = task.shape;
  const int64_t top_k = options.top_k > 0 ? options.top_k : shape.top_k;
  result.kept = keep_heads(shape, task.weights, task.z_PH, norm_H, top_k, task.scored_P,
                           kernels::ScoreCheck::kLater);
  KeptDecoding decoded = decode_kept(
      task, result.kept, {task.weights.b_D, task.target_PD, task.scored_P, options.grad_scale},
      selection_of(shape.activation));
  result.squared_error = std::move(decoded.loss.squared_error);
  if (result.kept.first_invalid.defined()) {
    result.squared_error = result.squared_error.masked_fill(
        result.kept.first_invalid[0] >= 0, std::numeric_limits<double>::quiet_NaN());
  }
  result.gradients.W_O = std::move(decoded.gradients.grad_W_O_HD);
  result.gradients.b_D = std::move(decoded.gradients.grad_b_D);
  ZGradient d_z{std::move(decoded.loss.grad_value_PK), result.kept.head_PK, {}};
  add_auxiliary(task, norm_H, decoded.loss.grad_y_PD, result, d_z);
  count_active(task, result);
  if (options.threshold == StepOptions::Threshold::kMeasure) {
    result.threshold =
        at::full_like(result.threshold, batch_threshold(task.z_PH, norm_H, task.scored_P,
                                                        top_k * result.num_scored.item<int64_t>()));
  }
  if (shape.num_qk_heads == 0 && by_products(task, d_z.head_PK.size(1))) {
    // Without attention the encoder's gradient would gather rows of x in the same way.
    d_z.grad_PH = kernels::scatter_kept(std::exchange(d_z.grad_PK, {}),
                                        std::exchange(d_z.head_PK, {}), shape.num_ov_heads);
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

// On an H200, in bfloat16, for a token: the decode and W_O's gradient gather 2 K rows of W_O or of
// the output's gradient, 2 * 2 K D bytes at 4.3 TB/s; past kDecodeStagedRows the values' gradient
// gathers K more. Three products take 3 * 2 H D FLOP at 700
// TFLOP/s, and 4 * 2 H bytes more: a is written and read twice, its gradient written. In float32
// these are twice the bytes, at 50 TFLOP/s. Weights that fit into the device's cache are gathered
// faster than this says, but then neither way takes long.
int64_t most_gathered_heads(const DictionaryShape& shape, bool in_bfloat16) {
  constexpr double kBytesPerSecond = 4.3e12;
  const double bytes = in_bfloat16 ? 2.0 : 4.0;
  const double flops_per_second = in_bfloat16 ? 700e12 : 50e12;
  const auto D = static_cast<double>(shape.d_model);
  const auto H = static_cast<double>(shape.num_ov_heads);
  const double products_s = 6.0 * H * D / flops_per_second + 4.0 * bytes * H / kBytesPerSecond;
  const double row_s = bytes * D / kBytesPerSecond;
  const auto most = [&](double gathers) {
    return static_cast<int64_t>(products_s / (gathers * row_s));
  };
  return std::max(most(3.0), std::min(most(2.0), kernels::kDecodeStagedRows));
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
