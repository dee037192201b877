#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "lorsa/model/initialize.h"

namespace lorsa::model {

Dictionary of_attention(const kernels::Mhsa& layer) {
  const at::NoGradGuard no_grad;
  const int64_t N = layer.num_heads();
  const int64_t A = layer.head_width();
  const int64_t D = layer.d_model();
  DictionaryShape shape;
  shape.d_model = D;
  shape.num_ov_heads = shape.top_k = N * A;
  shape.num_qk_heads = N;
  shape.d_qk = A;
  shape.activation = Activation::kTopKSigned;
  shape.attn_scale = layer.attn_scale;
  shape.qk_norm = layer.q_norm.defined();
  shape.qk_norm_eps = layer.qk_norm_eps;
  shape.rope = layer.rope;
  const auto of_query_heads = [&](const at::Tensor& x) {
    return at::repeat_interleave(x, N / x.size(0), 0);
  };
  const auto rows = [&](const at::Tensor& weight) {
    return of_query_heads(weight).transpose(1, 2).reshape({N * A, D}).contiguous();
  };
  const auto bias = [&](const at::Tensor& value) {
    return value.defined() ? of_query_heads(value).contiguous()
                           : at::zeros({N, A}, layer.W_Q.options());
  };
  DictionaryWeights w;
  w.W_Q = rows(layer.W_Q);
  w.W_K = rows(layer.W_K);
  w.W_V = rows(layer.W_V);
  w.W_O = layer.W_O.reshape({N * A, D}).contiguous();
  w.b_Q = bias(layer.b_Q);
  w.b_K = bias(layer.b_K);
  w.b_V = bias(layer.b_V).reshape({N * A}).contiguous();
  w.b_D = layer.b_O.defined() ? layer.b_O.clone() : at::zeros({D}, layer.W_Q.options());
  if (shape.qk_norm) {
    w.q_norm = layer.q_norm.expand({N, A}).contiguous();
    w.k_norm = layer.k_norm.expand({N, A}).contiguous();
  }
  return Dictionary(shape, std::move(w));
}

}  // namespace lorsa::model
