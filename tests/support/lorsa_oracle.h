#pragma once

#include <ATen/ATen.h>

#include <cmath>
#include <limits>

#include "lorsa/kernels/mhsa.h"
#include "lorsa/model/dictionary.h"

// The Lorsa of docs/method.md written a second time, head by head, with nothing shared with the
// library but the weights: LibTorch's autograd differentiates it.

namespace lorsa::test {

inline at::Tensor oracle_rope(const at::Tensor& x_BTE, const kernels::RopeSpec& rope) {
  if (rope.rotary_dim == 0) {
    return x_BTE;
  }
  const int64_t half = rope.rotary_dim / 2;
  const int64_t T = x_BTE.size(1);
  at::Tensor angle = at::empty({T, half}, at::kDouble);
  for (int64_t t = 0; t < T; ++t) {
    for (int64_t i = 0; i < half; ++i) {
      // Rounded as transformers rounds it: frequency, then angle, in float32.
      const float exponent = static_cast<float>(2 * i) / static_cast<float>(rope.rotary_dim);
      const float frequency = 1.0f / std::pow(static_cast<float>(rope.base), exponent);
      angle[t][i] = static_cast<double>(static_cast<float>(t) * frequency);
    }
  }
  const at::Tensor cos = angle.to(at::kFloat).cos().to(at::kDouble);
  const at::Tensor sin = angle.to(at::kFloat).sin().to(at::kDouble);
  const at::Tensor a = x_BTE.narrow(2, 0, half);
  const at::Tensor b = x_BTE.narrow(2, half, half);
  const at::Tensor rest = x_BTE.narrow(2, 2 * half, x_BTE.size(2) - 2 * half);
  return at::cat({a * cos - b * sin, b * cos + a * sin, rest}, 2);
}

inline at::Tensor oracle_norm(const at::Tensor& x_BTE, const at::Tensor& gain_E, double eps) {
  return x_BTE / at::sqrt(x_BTE.square().mean(-1, true) + eps) * gain_E;
}

/// z of every head, [B, T, H], double.
inline at::Tensor oracle_z(const model::DictionaryShape& shape,
                           const model::DictionaryWeights& w,
                           const at::Tensor& x_BTD) {
  if (shape.num_qk_heads == 0) {
    return at::einsum("btd,hd->bth", {x_BTD, w.W_V}) + w.b_V;
  }
  const int64_t T = x_BTD.size(1);
  const at::Tensor future = at::ones({T, T}, at::kBool).triu(1);
  std::vector<at::Tensor> z;
  for (int64_t h = 0; h < shape.num_ov_heads; ++h) {
    const int64_t s = h / (shape.num_ov_heads / shape.num_qk_heads);
    const auto projected = [&](const at::Tensor& weight, const at::Tensor& bias,
                               const at::Tensor& gain) {
      at::Tensor out =
          at::matmul(x_BTD, weight.narrow(0, s * shape.d_qk, shape.d_qk).t()) + bias[s];
      if (shape.qk_norm) {
        out = oracle_norm(out, gain[s], shape.qk_norm_eps);
      }
      return oracle_rope(out, shape.rope);
    };
    const at::Tensor q = projected(w.W_Q, w.b_Q, shape.qk_norm ? w.q_norm : at::Tensor());
    const at::Tensor k = projected(w.W_K, w.b_K, shape.qk_norm ? w.k_norm : at::Tensor());
    const at::Tensor scores = at::matmul(q, k.transpose(1, 2)) / shape.attn_scale;
    at::Tensor masked = scores.masked_fill(future, -std::numeric_limits<double>::infinity());
    if (shape.num_virtual_keys > 0) {
      const at::Tensor keys_nE = w.virtual_k.select(1, s);
      masked = at::cat({masked, at::matmul(q, keys_nE.t()) / shape.attn_scale}, -1);
    }
    const at::Tensor pattern = at::softmax(masked, -1).narrow(-1, 0, T);
    const at::Tensor v_BT = at::matmul(x_BTD, w.W_V[h]) + w.b_V[h];
    z.push_back(at::matmul(pattern, v_BT.unsqueeze(-1)).squeeze(-1));
  }
  return at::stack(z, -1);
}

/// 1 at the k best entries of a row of scores [.., n] (equal ones: the first), else 0.
inline at::Tensor oracle_best(const at::Tensor& score, int64_t k) {
  const auto order = std::get<1>(at::sort(score, /*stable=*/true, /*dim=*/-1, /*descending=*/true));
  return at::zeros_like(score).scatter_(-1, order.narrow(-1, 0, k), 1.0);
}

/// Activations of all heads after selection, [B, T, H]. batchtopk chooses among scored positions.
inline at::Tensor oracle_activations(const model::DictionaryShape& shape,
                                     const model::DictionaryWeights& w,
                                     const at::Tensor& z_BTH,
                                     const at::Tensor& scored_BT) {
  using model::Activation;
  const bool is_signed = shape.activation == Activation::kTopKSigned;
  const at::Tensor a = is_signed ? z_BTH : at::relu(z_BTH);
  const at::Tensor score = (a.abs() * w.W_O.norm(2, 1)).detach();
  if (shape.activation == Activation::kRelu) {
    return a;
  }
  if (shape.activation == Activation::kJumpRelu) {
    return a * (score > w.log_threshold.exp()).to(at::kDouble);
  }
  if (shape.activation == Activation::kBatchTopK) {
    const at::Tensor eligible = score * scored_BT.unsqueeze(-1);
    const int64_t k = shape.top_k * scored_BT.sum().item<int64_t>();
    return a * oracle_best(eligible.flatten(), k).view_as(score);
  }
  return a * oracle_best(score, shape.top_k);
}

inline at::Tensor oracle_output(const model::DictionaryShape& shape,
                                const model::DictionaryWeights& w,
                                const at::Tensor& x_BTD,
                                const at::Tensor& scored_BT) {
  const at::Tensor z = oracle_z(shape, w, x_BTD);
  return at::matmul(oracle_activations(shape, w, z, scored_BT), w.W_O) + w.b_D;
}

/// What training minimises. AuxK's residual is that of `fixed`, the step's weights, for it is a
/// constant of the step.
inline at::Tensor oracle_loss(const model::DictionaryShape& shape,
                              const model::DictionaryWeights& w,
                              const at::Tensor& x_BTD,
                              const at::Tensor& t_BTD,
                              const at::Tensor& scored_BT,
                              const model::StepOptions& options,
                              const model::DictionaryWeights& fixed) {
  const at::Tensor z = oracle_z(shape, w, x_BTD);
  const at::Tensor a = oracle_activations(shape, w, z, scored_BT);
  const at::Tensor error = (at::matmul(a, w.W_O) + w.b_D - t_BTD).square().sum(-1);
  at::Tensor loss = (error * scored_BT).sum() * options.grad_scale;
  const at::Tensor length = a * w.W_O.norm(2, 1);
  at::Tensor penalty = at::zeros_like(length);
  switch (options.penalty.kind) {
    case model::PenaltyKind::kNone:
      break;
    case model::PenaltyKind::kL1:
      penalty = length;
      break;
    case model::PenaltyKind::kTanh:
      penalty = at::tanh(length * options.penalty.stretch);
      break;
    case model::PenaltyKind::kL0:
      penalty = (a > 0).to(at::kDouble);
      break;
  }
  loss = loss + (penalty.sum(-1) * scored_BT).sum() * options.penalty.scale;
  const at::Tensor& dead = options.auxiliary.dead_heads;
  if (dead.defined() && dead.numel() > 0) {
    const at::Tensor others = z * (a == 0).to(at::kDouble);
    const at::Tensor residual_BTD =
        (t_BTD - oracle_output(shape, fixed, x_BTD, scored_BT)).detach();
    const at::Tensor z_dead = others.index_select(-1, dead);
    const at::Tensor W_dead = w.W_O.index_select(0, dead);
    const bool is_signed = shape.activation == model::Activation::kTopKSigned;
    const at::Tensor a_dead = is_signed ? z_dead : at::relu(z_dead);
    const at::Tensor chosen = oracle_best((a_dead.abs() * W_dead.norm(2, 1)).detach(),
                                          std::min(options.auxiliary.k, dead.size(0)));
    const at::Tensor left = (at::matmul(a_dead * chosen, W_dead) - residual_BTD).square().sum(-1);
    loss = loss + (left * scored_BT).sum() * options.grad_scale * options.auxiliary.coefficient;
  }
  return loss;
}

/// Random weights in double, biases and gains included.
inline model::DictionaryWeights random_weights(const model::DictionaryShape& shape,
                                               at::ScalarType dtype = at::kDouble) {
  model::DictionaryWeights w;
  const auto random = [&](const char* name, double scale) {
    return (at::randn(model::weight_shape(shape, name), at::kDouble) * scale).to(dtype);
  };
  if (shape.num_qk_heads > 0) {
    w.W_Q = random("W_Q", 0.5);
    w.W_K = random("W_K", 0.5);
    w.b_Q = random("b_Q", 0.3);
    w.b_K = random("b_K", 0.3);
  }
  w.W_V = random("W_V", 0.4);
  w.b_V = random("b_V", 0.2);
  w.W_O = random("W_O", 0.4);
  w.b_D = random("b_D", 0.2);
  if (shape.qk_norm) {
    w.q_norm = random("q_norm", 0.3) + 1.0;
    w.k_norm = random("k_norm", 0.3) + 1.0;
  }
  if (shape.activation == model::Activation::kJumpRelu) {
    w.log_threshold = random("log_threshold", 0.4) - 1.0;
  }
  if (shape.num_virtual_keys > 0) {
    w.virtual_k = random("virtual_k", 0.6);
  }
  return w;
}

/// The layer itself as a Lorsa: every MHSA head's QK once, signed activations, all A OV heads of
/// each head kept.
inline model::Dictionary exact_lorsa(const kernels::Mhsa& layer) {
  const int64_t N = layer.num_heads(), A = layer.head_width(), D = layer.d_model();
  model::DictionaryShape shape;
  shape.d_model = D;
  shape.num_ov_heads = N * A;
  shape.num_qk_heads = N;
  shape.d_qk = A;
  shape.top_k = N * A;
  shape.activation = model::Activation::kTopKSigned;
  shape.attn_scale = layer.attn_scale;
  shape.rope = layer.rope;
  const auto options = layer.W_Q.options();
  const auto per_query_head = [&](const at::Tensor& x) {
    return at::repeat_interleave(x, N / x.size(0), 0);
  };
  const auto rows = [&](const at::Tensor& w) {
    return per_query_head(w).transpose(1, 2).reshape({N * A, D}).contiguous();
  };
  const auto bias = [&](const at::Tensor& b) {
    return b.defined() ? per_query_head(b).contiguous() : at::zeros({N, A}, options);
  };
  model::DictionaryWeights w;
  w.W_Q = rows(layer.W_Q);
  w.W_K = rows(layer.W_K);
  w.W_V = rows(layer.W_V);
  w.W_O = layer.W_O.reshape({N * A, D}).contiguous();
  w.b_Q = bias(layer.b_Q);
  w.b_K = bias(layer.b_K);
  w.b_V = bias(layer.b_V).reshape({N * A}).contiguous();
  w.b_D = layer.b_O.defined() ? layer.b_O.clone() : at::zeros({D}, options);
  return model::Dictionary(shape, w);
}

inline model::DictionaryShape small_shape(model::Activation activation, bool qk_norm) {
  model::DictionaryShape shape;
  shape.d_model = 7;
  shape.num_ov_heads = 12;
  shape.num_qk_heads = 4;
  shape.d_qk = 6;
  shape.top_k = 3;
  shape.activation = activation;
  shape.attn_scale = 2.1;
  shape.qk_norm = qk_norm;
  shape.rope.rotary_dim = 4;
  shape.rope.base = 100.0;
  return shape;
}

/// A kind without attention, of as many features as small_shape() has heads.
inline model::DictionaryShape small_sae(model::Activation activation,
                                        const std::string& kind = "sae") {
  model::DictionaryShape shape;
  shape.kind = kind;
  shape.d_model = 7;
  shape.num_ov_heads = 12;
  shape.top_k = 3;
  shape.activation = activation;
  return shape;
}

}  // namespace lorsa::test
