#include "lorsa/kernels/attention.h"

#include <ATen/ATen.h>

#include "kernels/attention_backward.h"
#include "kernels/checks.h"
#include "kernels/cuda_backend.h"
#include "kernels/device_attention.h"
#include "kernels/grouped_attention.h"
#include "kernels/part_timer.h"
#include "kernels/shapes.h"
#include "lorsa/core/error.h"

namespace lorsa::kernels {
namespace {

struct Sizes {
  int64_t B, T, S, E, G;
};

Sizes check(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) {
  LORSA_CHECK(q.dim() == 4 && k.sizes() == q.sizes() && v.dim() == 4 &&
                  v.sizes().slice(0, 3) == q.sizes().slice(0, 3),
              ShapeError,
              "attention: expected q, k [B, T, S, E] and v [B, T, S, G], found {}, {}, {}",
              q.sizes(), k.sizes(), v.sizes());
  LORSA_CHECK(q.scalar_type() == k.scalar_type() && q.scalar_type() == v.scalar_type(), ShapeError,
              "attention: q, k and v have different dtypes: {}, {}, {}", q.scalar_type(),
              k.scalar_type(), v.scalar_type());
  return {q.size(0), q.size(1), q.size(2), q.size(3), v.size(3)};
}

/// The CPU's passes read rows of a head, wherever they lie.
at::Tensor with_whole_rows(const at::Tensor& x_BTSW) {
  return x_BTSW.stride(3) == 1 ? x_BTSW : x_BTSW.contiguous();
}

at::Tensor in_float(const at::Tensor& tensor) {
  return tensor.to(at::kFloat);
}

AttentionResult in_float(const AttentionResult& result) {
  return {in_float(result.z_PH), result.lse_BST, {}};
}

/// For passes that know nothing of RoPE.
AttentionGradients before_rope(AttentionGradients gradients,
                               const AttentionBackwardOptions& options) {
  if (options.rope_table.cos.defined() && gradients.grad_q_BTSE.defined()) {
    for (at::Tensor* grad : {&gradients.grad_q_BTSE, &gradients.grad_k_BTSE}) {
      apply_rope_(*grad, options.rope, options.rope_table, RopeDirection::kInverse);
    }
  }
  return gradients;
}

AttentionGradients rounded(AttentionGradients gradients) {
  for (at::Tensor* grad :
       {&gradients.grad_q_BTSE, &gradients.grad_k_BTSE, &gradients.grad_v_BTSG}) {
    if (grad->defined()) {
      *grad = grad->to(at::kBFloat16);
    }
  }
  return gradients;
}

}  // namespace

AttentionResult attention_forward(const at::Tensor& q_BTSE,
                                  const at::Tensor& k_BTSE,
                                  const at::Tensor& v_BTSG,
                                  double attn_scale) {
  const PartTimer timer(Part::kAttentionForward);
  const Sizes n = check(q_BTSE, k_BTSE, v_BTSG);
  if (runs_on_device(q_BTSE)) {
    return device_attention_forward(q_BTSE, k_BTSE, v_BTSG, attn_scale);
  }
  if (rounds_on_cpu(q_BTSE)) {
    AttentionResult result =
        attention_forward(in_float(q_BTSE), in_float(k_BTSE), in_float(v_BTSG), attn_scale);
    result.z_PH = result.z_PH.to(at::kBFloat16);
    return result;
  }
  at::Tensor z = at::empty({n.B, n.T, n.S, n.G}, q_BTSE.options());
  at::Tensor lse = at::empty({n.B, n.S, n.T}, q_BTSE.options());
  LORSA_CHECK(q_BTSE.scalar_type() == at::kFloat || q_BTSE.scalar_type() == at::kDouble, ShapeError,
              "attention: expected float32, float64 or bfloat16, found {}", q_BTSE.scalar_type());
  grouped_attention_cpu(q_BTSE, k_BTSE, v_BTSG, 1.0 / attn_scale, z, lse);
  return {z.view({n.B * n.T, n.S * n.G}), lse, {}};
}

AttentionGradients attention_backward(const at::Tensor& q_BTSE,
                                      const at::Tensor& k_BTSE,
                                      const at::Tensor& v_BTSG,
                                      const AttentionResult& result,
                                      const at::Tensor& grad_PK,
                                      const at::Tensor& head_PK,
                                      double attn_scale,
                                      const AttentionBackwardOptions& options) {
  const PartTimer timer(Part::kAttentionBackward);
  const Sizes n = check(q_BTSE, k_BTSE, v_BTSG);
  LORSA_CHECK(
      grad_PK.sizes() == head_PK.sizes() && grad_PK.dim() == 2 && grad_PK.size(0) == n.B * n.T,
      ShapeError, "attention_backward: expected grad and head [{}, K], found {} and {}", n.B * n.T,
      grad_PK.sizes(), head_PK.sizes());
  if (runs_on_device(q_BTSE)) {
    const at::Tensor grad_z_PH = scatter_kept(grad_PK, head_PK, result.z_PH.size(1));
    AttentionGradients out =
        before_rope(device_attention_backward(q_BTSE, k_BTSE, v_BTSG, result, grad_z_PH, attn_scale,
                                              options.gradients),
                    options);
    if (out.grad_q_BTSE.defined() && q_BTSE.scalar_type() == at::kBFloat16 &&
        gathers_query_rows(grad_PK.size(1), n.S, n.E)) {
      out.q_rows = cuda_backend().query_rows(grad_PK, head_PK, n.S, n.G);
    }
    return out;
  }
  if (rounds_on_cpu(q_BTSE)) {
    return rounded(attention_backward(in_float(q_BTSE), in_float(k_BTSE), in_float(v_BTSG),
                                      in_float(result), in_float(grad_PK), head_PK, attn_scale,
                                      options));
  }
  const at::Tensor q = with_whole_rows(q_BTSE);
  const at::Tensor k = with_whole_rows(k_BTSE);
  const at::Tensor v = with_whole_rows(v_BTSG);
  return attention_backward_cpu({q, k, v, result, 1.0 / attn_scale, options}, grad_PK.contiguous(),
                                head_PK.contiguous());
}

AttentionGradients attention_backward_dense(const at::Tensor& q_BTSE,
                                            const at::Tensor& k_BTSE,
                                            const at::Tensor& v_BTSG,
                                            const AttentionResult& result,
                                            const at::Tensor& grad_z_PH,
                                            double attn_scale,
                                            const AttentionBackwardOptions& options) {
  const PartTimer timer(Part::kAttentionBackward);
  check(q_BTSE, k_BTSE, v_BTSG);
  LORSA_CHECK(grad_z_PH.sizes() == result.z_PH.sizes() &&
                  grad_z_PH.scalar_type() == result.z_PH.scalar_type(),
              ShapeError, "attention_backward_dense: expected a gradient of z {}, {}, found {}, {}",
              result.z_PH.sizes(), result.z_PH.scalar_type(), grad_z_PH.sizes(),
              grad_z_PH.scalar_type());
  const at::Tensor grad_z = grad_z_PH.contiguous();
  if (runs_on_device(q_BTSE)) {
    return before_rope(device_attention_backward(q_BTSE, k_BTSE, v_BTSG, result, grad_z, attn_scale,
                                                 options.gradients),
                       options);
  }
  if (rounds_on_cpu(q_BTSE)) {
    return rounded(attention_backward_dense(in_float(q_BTSE), in_float(k_BTSE), in_float(v_BTSG),
                                            in_float(result), in_float(grad_z), attn_scale,
                                            options));
  }
  const at::Tensor q = with_whole_rows(q_BTSE);
  const at::Tensor k = with_whole_rows(k_BTSE);
  const at::Tensor v = with_whole_rows(v_BTSG);
  return attention_backward_dense_cpu({q, k, v, result, 1.0 / attn_scale, options}, grad_z);
}

}  // namespace lorsa::kernels
