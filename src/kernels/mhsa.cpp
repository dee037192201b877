#include "lorsa/kernels/mhsa.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include <cmath>

#include "kernels/grouped_attention.h"
#include "lorsa/core/error.h"
#include "lorsa/kernels/pointwise.h"

namespace lorsa::kernels {
namespace {

void check_shape(const char* name, const at::Tensor& tensor, at::IntArrayRef expected) {
  LORSA_CHECK(tensor.sizes() == expected, ShapeError, "mhsa: {}: expected shape {}, found {}", name,
              expected, tensor.sizes());
}

void check_optional(const char* name, const at::Tensor& tensor, at::IntArrayRef expected) {
  if (tensor.defined()) {
    check_shape(name, tensor, expected);
  }
}

void check_layer(const Mhsa& layer, const at::Tensor& x_BTD) {
  LORSA_CHECK(layer.W_Q.defined() && layer.W_K.defined() && layer.W_V.defined() &&
                  layer.W_O.defined() && layer.W_Q.dim() == 3 && layer.W_K.dim() == 3,
              ShapeError,
              "mhsa: W_Q, W_K, W_V and W_O must be defined, W_Q and W_K with 3 dimensions");
  const int64_t N = layer.num_heads();
  const int64_t M = layer.num_kv_heads();
  const int64_t D = layer.d_model();
  const int64_t A = layer.head_width();
  LORSA_CHECK(M > 0 && N % M == 0, ShapeError,
              "mhsa: {} query heads are not a multiple of {} key heads", N, M);
  check_shape("W_K", layer.W_K, {M, D, A});
  check_shape("W_V", layer.W_V, {M, D, A});
  check_shape("W_O", layer.W_O, {N, A, D});
  check_optional("b_Q", layer.b_Q, {N, A});
  check_optional("b_K", layer.b_K, {M, A});
  check_optional("b_V", layer.b_V, {M, A});
  check_optional("b_O", layer.b_O, {D});
  check_optional("q_norm", layer.q_norm, {A});
  check_optional("k_norm", layer.k_norm, {A});
  LORSA_CHECK(x_BTD.dim() == 3 && x_BTD.size(2) == D, ShapeError,
              "mhsa: expected input [B, T, {}], found {}", D, x_BTD.sizes());
  LORSA_CHECK(
      x_BTD.scalar_type() == layer.W_Q.scalar_type() && x_BTD.device() == layer.W_Q.device(),
      ShapeError, "mhsa: the input is {} on {}, the weights are {} on {}", x_BTD.scalar_type(),
      x_BTD.device(), layer.W_Q.scalar_type(), layer.W_Q.device());
}

/// x W[n] + b[n] for all heads in one product, [B, T, n, A].
at::Tensor project(const at::Tensor& x_BTD, const at::Tensor& W_nDA, const at::Tensor& b_nA) {
  const int64_t heads = W_nDA.size(0);
  const int64_t A = W_nDA.size(2);
  const at::Tensor x_PD = x_BTD.reshape({-1, x_BTD.size(2)});
  const at::Tensor folded = W_nDA.transpose(0, 1).reshape({x_BTD.size(2), heads * A});
  const at::Tensor y =
      b_nA.defined() ? at::addmm(b_nA.reshape({heads * A}), x_PD, folded) : at::mm(x_PD, folded);
  return y.view({x_BTD.size(0), x_BTD.size(1), heads, A});
}

struct QueriesAndKeys {
  at::Tensor q_BTNA;
  at::Tensor k_BTMA;
};

QueriesAndKeys queries_and_keys(const Mhsa& layer, const at::Tensor& x_BTD) {
  QueriesAndKeys result{project(x_BTD, layer.W_Q, layer.b_Q), project(x_BTD, layer.W_K, layer.b_K)};
  if (layer.q_norm.defined()) {
    result.q_BTNA = rms_norm(result.q_BTNA, layer.q_norm, layer.qk_norm_eps);
  }
  if (layer.k_norm.defined()) {
    result.k_BTMA = rms_norm(result.k_BTMA, layer.k_norm, layer.qk_norm_eps);
  }
  const at::ScalarType table_dtype = x_BTD.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  const RopeTable table = rope_table(layer.rope, x_BTD.size(1), table_dtype, x_BTD.device());
  apply_rope_(result.q_BTNA, layer.rope, table, RopeDirection::kForward);
  apply_rope_(result.k_BTMA, layer.rope, table, RopeDirection::kForward);
  return result;
}

}  // namespace

Mhsa Mhsa::to(c10::Device device, at::ScalarType dtype) const {
  Mhsa result = *this;
  for (at::Tensor* tensor :
       {&result.W_Q, &result.W_K, &result.W_V, &result.W_O, &result.b_Q, &result.b_K, &result.b_V,
        &result.b_O, &result.q_norm, &result.k_norm}) {
    if (tensor->defined()) {
      *tensor = tensor->to(device, dtype);
    }
  }
  return result;
}

at::Tensor causal_attention(const at::Tensor& q_BTNA,
                            const at::Tensor& k_BTMA,
                            const at::Tensor& v_BTMA,
                            double attn_scale) {
  const int64_t N = q_BTNA.size(2);
  const int64_t M = k_BTMA.size(2);
  const at::ScalarType dtype = q_BTNA.scalar_type();
  const bool recorded =
      c10::GradMode::is_enabled() &&
      (q_BTNA.requires_grad() || k_BTMA.requires_grad() || v_BTMA.requires_grad());
  if (q_BTNA.is_cpu() && (dtype == at::kFloat || dtype == at::kDouble) && !recorded) {
    const at::Tensor z_BTNA =
        at::empty({q_BTNA.size(0), q_BTNA.size(1), N, v_BTMA.size(3)}, q_BTNA.options());
    grouped_attention_cpu(q_BTNA, k_BTMA, v_BTMA, 1.0 / attn_scale, z_BTNA, at::Tensor());
    return z_BTNA;
  }
  at::Tensor k = k_BTMA.transpose(1, 2);
  at::Tensor v = v_BTMA.transpose(1, 2);
  // On CUDA only the 16-bit kernels know grouped keys; without the copies float32 would fall back
  // to a kernel that stores all T^2 weights.
  const bool repeat = N != M && !q_BTNA.is_cpu() && dtype == at::kFloat;
  if (repeat) {
    k = k.repeat_interleave(N / M, 1);
    v = v.repeat_interleave(N / M, 1);
  }
  const at::Tensor z_BNTA = at::scaled_dot_product_attention(q_BTNA.transpose(1, 2), k, v,
                                                             /*attn_mask=*/std::nullopt,
                                                             /*dropout_p=*/0.0,
                                                             /*is_causal=*/true,
                                                             /*scale=*/1.0 / attn_scale,
                                                             /*enable_gqa=*/N != M && !repeat);
  return z_BNTA.transpose(1, 2);
}

at::Tensor mhsa_forward(const Mhsa& layer, const at::Tensor& x_BTD) {
  check_layer(layer, x_BTD);
  const auto [q_BTNA, k_BTMA] = queries_and_keys(layer, x_BTD);
  const at::Tensor v_BTMA = project(x_BTD, layer.W_V, layer.b_V);
  const at::Tensor z_BTNA = causal_attention(q_BTNA, k_BTMA, v_BTMA, layer.attn_scale);
  const int64_t width = layer.num_heads() * layer.head_width();
  const at::Tensor z = z_BTNA.reshape({-1, width});
  const at::Tensor W_O = layer.W_O.reshape({width, layer.d_model()});
  const at::Tensor y = layer.b_O.defined() ? at::addmm(layer.b_O, z, W_O) : at::mm(z, W_O);
  return y.view(x_BTD.sizes());
}

at::Tensor mhsa_patterns(const Mhsa& layer, const at::Tensor& x_BTD) {
  check_layer(layer, x_BTD);
  const auto [q_BTNA, k_BTMA] = queries_and_keys(layer, x_BTD);
  const int64_t T = x_BTD.size(1);
  const at::Tensor q_BNTA = q_BTNA.transpose(1, 2);
  const at::Tensor k_BNTA =
      k_BTMA.transpose(1, 2).repeat_interleave(layer.num_heads() / layer.num_kv_heads(), 1);
  const at::Tensor score_BNTT = at::matmul(q_BNTA, k_BNTA.transpose(2, 3)) / layer.attn_scale;
  const at::Tensor future =
      at::ones({T, T}, score_BNTT.options().dtype(at::kBool)).triu(/*diagonal=*/1);
  return at::softmax(score_BNTT.masked_fill(future, -INFINITY), -1);
}

}  // namespace lorsa::kernels
