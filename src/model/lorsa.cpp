#include "lorsa/model/lorsa.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "lorsa/core/error.h"
#include "lorsa/kernels/attention.h"
#include "model/qk_norm.h"

namespace lorsa::model {
namespace {

// Everything that the forward pass computes up to z, kept for the backward
// pass.
struct Projections {
  at::Tensor x_PD;
  at::Tensor q_BTSE, k_BTSE;  // after norm and RoPE
  QkNorm q_norm, k_norm;      // what their backward needs; empty without QK norm
  at::Tensor v_BTSG;
  kernels::RopeTable rope;
};

/// All but v_BTSG.
Projections project_qk(const LorsaShape& shape, const LorsaWeights& w, const at::Tensor& x_BTD) {
  LORSA_CHECK(x_BTD.dim() == 3 && x_BTD.size(2) == shape.d_model,
              ShapeError,
              "Lorsa: expected input [B, T, ",
              shape.d_model,
              "], found ",
              x_BTD.sizes());
  LORSA_CHECK(x_BTD.scalar_type() == w.W_Q.scalar_type(),
              ShapeError,
              "Lorsa: input is ",
              x_BTD.scalar_type(),
              ", weights are ",
              w.W_Q.scalar_type());
  const int64_t B = x_BTD.size(0);
  const int64_t T = x_BTD.size(1);
  Projections p;
  p.x_PD = x_BTD.reshape({B * T, shape.d_model});
  p.rope = kernels::rope_table(shape.rope, T, w.W_Q.scalar_type(), x_BTD.device());
  const auto heads = [&](const at::Tensor& weight,
                         const at::Tensor& bias,
                         const at::Tensor& gain,
                         QkNorm& norm) {
    at::Tensor out =
        at::addmm(bias.view({-1}), p.x_PD, weight.t()).view({B, T, shape.num_qk_heads, shape.d_qk});
    if (gain.defined()) {
      out = norm.forward(out, gain, shape.qk_norm_eps);
    }
    if (shape.rope.rotary_dim > 0) {
      kernels::apply_rope_(out, shape.rope, p.rope, kernels::RopeDirection::kForward);
    }
    return out;
  };
  p.q_BTSE = heads(w.W_Q, w.b_Q, w.q_norm, p.q_norm);
  p.k_BTSE = heads(w.W_K, w.b_K, w.k_norm, p.k_norm);
  return p;
}

Projections project(const LorsaShape& shape, const LorsaWeights& w, const at::Tensor& x_BTD) {
  Projections p = project_qk(shape, w, x_BTD);
  p.v_BTSG = at::addmm(w.b_V, p.x_PD, w.W_V.t())
                 .view({x_BTD.size(0), x_BTD.size(1), shape.num_qk_heads, shape.group()});
  return p;
}

kernels::Selection selection_of(Activation activation) {
  switch (activation) {
    case Activation::kTopK:
      return kernels::Selection::kPositive;
    case Activation::kTopKSigned:
      return kernels::Selection::kSigned;
  }
  throw Error("unknown activation");
}

// Values of the keys that z_patterns gathers at a time: 64 MiB in float32.
constexpr int64_t kGatheredValues = int64_t{1} << 24;

void check_queries(const std::vector<PatternQuery>& queries, int64_t B, int64_t T, int64_t H) {
  for (const PatternQuery& query : queries) {
    LORSA_CHECK(query.row >= 0 && query.row < B && query.position >= 0 && query.position < T &&
                    query.head >= 0 && query.head < H,
                ShapeError,
                "z_patterns: query (row ",
                query.row,
                ", position ",
                query.position,
                ", head ",
                query.head,
                ") is outside [",
                B,
                ", ",
                T,
                ", ",
                H,
                "]");
  }
}

}  // namespace

void validate(const LorsaShape& s) {
  LORSA_CHECK(s.d_model > 0 && s.num_ov_heads > 0 && s.num_qk_heads > 0 && s.d_qk > 0,
              ConfigError,
              "model: sizes must be positive, found d_model = ",
              s.d_model,
              ", num_ov_heads = ",
              s.num_ov_heads,
              ", num_qk_heads = ",
              s.num_qk_heads,
              ", d_qk = ",
              s.d_qk);
  LORSA_CHECK(s.num_ov_heads % s.num_qk_heads == 0,
              ConfigError,
              "model.num_qk_heads = ",
              s.num_qk_heads,
              " does not divide model.num_ov_heads = ",
              s.num_ov_heads);
  LORSA_CHECK(s.top_k >= 1 && s.top_k <= s.num_ov_heads,
              ConfigError,
              "model.top_k = ",
              s.top_k,
              " is outside [1, model.num_ov_heads = ",
              s.num_ov_heads,
              "]");
  LORSA_CHECK(s.attn_scale > 0.0 && std::isfinite(s.attn_scale),
              ConfigError,
              "model.attn_scale = ",
              s.attn_scale,
              " must be positive");
  LORSA_CHECK(s.rope.rotary_dim >= 0 && s.rope.rotary_dim <= s.d_qk && s.rope.rotary_dim % 2 == 0,
              ConfigError,
              "rotary_dim = ",
              s.rope.rotary_dim,
              " must be even and at most model.d_qk = ",
              s.d_qk);
}

Lorsa::Lorsa(LorsaShape shape, LorsaWeights weights)
    : shape_(std::move(shape)), weights_(std::move(weights)) {
  if (shape_.attn_scale == 0.0) {
    shape_.attn_scale = std::sqrt(static_cast<double>(shape_.d_qk));
  }
  validate(shape_);
  for (const auto& [name, tensor] : std::as_const(weights_).named()) {
    const std::vector<int64_t> expected = weight_shape(shape_, name);
    LORSA_CHECK(tensor->sizes() == at::IntArrayRef(expected) && tensor->is_contiguous(),
                ShapeError,
                "weight ",
                name,
                ": expected a contiguous ",
                at::IntArrayRef(expected),
                ", found ",
                tensor->sizes());
  }
  LORSA_CHECK(
      weights_.q_norm.defined() == shape_.qk_norm && weights_.k_norm.defined() == shape_.qk_norm,
      ShapeError,
      "weights q_norm and k_norm: expected ",
      shape_.qk_norm ? "both" : "neither");
}

Reconstruction Lorsa::reconstruct(const at::Tensor& x_BTD, int64_t top_k) const {
  const at::NoGradGuard no_grad;
  const at::Tensor z_PH = pre_activations(x_BTD);
  Reconstruction out;
  out.kept = kernels::top_k_heads(
      z_PH, output_norms(), top_k > 0 ? top_k : shape_.top_k, selection_of(shape_.activation));
  out.y_BTD = kernels::sparse_decode(out.kept, weights_.W_O, weights_.b_D).view(x_BTD.sizes());
  return out;
}

at::Tensor Lorsa::pre_activations(const at::Tensor& x_BTD) const {
  const at::NoGradGuard no_grad;
  const Projections p = project(shape_, weights_, x_BTD);
  return kernels::attention_forward(p.q_BTSE, p.k_BTSE, p.v_BTSG, shape_.attn_scale).z_PH;
}

StepResult Lorsa::forward_backward(const at::Tensor& x_BTD,
                                   const at::Tensor& target_BTD,
                                   const at::Tensor& scored_BT,
                                   double grad_scale,
                                   int64_t top_k) const {
  const at::NoGradGuard no_grad;
  LORSA_CHECK(target_BTD.sizes() == x_BTD.sizes(),
              ShapeError,
              "Lorsa: target ",
              target_BTD.sizes(),
              " and input ",
              x_BTD.sizes(),
              " differ in shape");
  const kernels::Selection selection = selection_of(shape_.activation);
  const Projections p = project(shape_, weights_, x_BTD);
  const int64_t P = p.x_PD.size(0);
  const kernels::AttentionResult attention =
      kernels::attention_forward(p.q_BTSE, p.k_BTSE, p.v_BTSG, shape_.attn_scale);

  StepResult out;
  out.kept = kernels::top_k_heads(
      attention.z_PH, output_norms(), top_k > 0 ? top_k : shape_.top_k, selection);
  const at::Tensor scored_P = scored_BT.reshape({P});
  out.num_scored = scored_P.sum().item<int64_t>();
  const kernels::DecodeLoss decoded =
      kernels::sparse_decode_loss(out.kept,
                                  weights_.W_O,
                                  weights_.b_D,
                                  target_BTD.reshape({P, shape_.d_model}),
                                  scored_P,
                                  grad_scale);
  out.squared_error = decoded.squared_error;

  kernels::DecodeGradients decode =
      kernels::sparse_decode_backward(out.kept, weights_.W_O, decoded.grad_y_PD, selection);
  LorsaWeights& g = out.gradients;
  g.W_O = std::move(decode.grad_W_O_HD);
  g.b_D = std::move(decode.grad_b_D);
  kernels::AttentionGradients d = kernels::attention_backward(p.q_BTSE,
                                                              p.k_BTSE,
                                                              p.v_BTSG,
                                                              attention,
                                                              decode.grad_value_PK,
                                                              out.kept.head_PK,
                                                              shape_.attn_scale);
  const at::Tensor d_v_PH = d.grad_v_BTSG.view({P, shape_.num_ov_heads});
  g.W_V = at::mm(d_v_PH.t(), p.x_PD);
  g.b_V = d_v_PH.sum(0);
  const auto weight_gradient =
      [&](at::Tensor& d_BTSE, const QkNorm& norm, const at::Tensor& gain, at::Tensor& d_gain) {
        if (shape_.rope.rotary_dim > 0) {
          kernels::apply_rope_(d_BTSE, shape_.rope, p.rope, kernels::RopeDirection::kInverse);
        }
        if (gain.defined()) {
          std::tie(d_BTSE, d_gain) = norm.backward(d_BTSE, gain);
        }
        return d_BTSE.reshape({P, shape_.num_qk_heads * shape_.d_qk});
      };
  const at::Tensor d_q = weight_gradient(d.grad_q_BTSE, p.q_norm, weights_.q_norm, g.q_norm);
  g.W_Q = at::mm(d_q.t(), p.x_PD);
  g.b_Q = d_q.sum(0).view({shape_.num_qk_heads, shape_.d_qk});
  const at::Tensor d_k = weight_gradient(d.grad_k_BTSE, p.k_norm, weights_.k_norm, g.k_norm);
  g.W_K = at::mm(d_k.t(), p.x_PD);
  g.b_K = d_k.sum(0).view({shape_.num_qk_heads, shape_.d_qk});
  return out;
}

at::Tensor Lorsa::z_patterns(const at::Tensor& x_BTD,
                             const std::vector<PatternQuery>& queries) const {
  const at::NoGradGuard no_grad;
  const Projections p = project_qk(shape_, weights_, x_BTD);
  const int64_t T = x_BTD.size(1);
  const auto n = static_cast<int64_t>(queries.size());
  if (n == 0) {
    return at::zeros({0, T}, x_BTD.options());
  }
  check_queries(queries, x_BTD.size(0), T, shape_.num_ov_heads);
  const auto column = [&](int64_t PatternQuery::*field) {
    at::Tensor out_n = at::empty({n}, at::kLong);
    int64_t* out = out_n.mutable_data_ptr<int64_t>();
    for (const PatternQuery& query : queries) {
      *out++ = query.*field;
    }
    return out_n.to(x_BTD.device());
  };
  const at::Tensor row_n = column(&PatternQuery::row);
  const at::Tensor position_n = column(&PatternQuery::position);
  const at::Tensor head_n = column(&PatternQuery::head);
  const at::Tensor s_n = at::floor_divide(head_n, shape_.group());
  // Values of the asked heads only: a batch asks for few of tens of thousands.
  const auto [head_m, place_n, unused] =
      at::_unique2(head_n, /*sorted=*/true, /*return_inverse=*/true);
  const at::Tensor v_BmT =
      at::addmm(
          weights_.b_V.index_select(0, head_m), p.x_PD, weights_.W_V.index_select(0, head_m).t())
          .view({x_BTD.size(0), T, -1})
          .transpose(1, 2);
  const at::Tensor future_T = at::arange(T, row_n.options());

  at::Tensor out_nT = at::empty({n, T}, x_BTD.options());
  // The keys of a query are copied: a slice of queries at a time bounds that.
  const int64_t slice = std::max<int64_t>(1, kGatheredValues / (T * shape_.d_qk));
  for (int64_t begin = 0; begin < n; begin += slice) {
    const int64_t size = std::min(slice, n - begin);
    const auto part = [&](const at::Tensor& all_n) { return all_n.narrow(0, begin, size); };
    const at::Tensor q_nE1 =
        at::index(p.q_BTSE, {part(row_n), part(position_n), part(s_n)}).unsqueeze(2);
    const at::Tensor k_nTE = at::index(p.k_BTSE.transpose(1, 2), {part(row_n), part(s_n)});
    const at::Tensor score_nT = at::bmm(k_nTE, q_nE1).squeeze(2).div_(shape_.attn_scale);
    score_nT.masked_fill_(future_T.unsqueeze(0) > part(position_n).unsqueeze(1),
                          -std::numeric_limits<double>::infinity());
    const at::Tensor v_nT = at::index(v_BmT, {part(row_n), part(place_n)});
    out_nT.narrow(0, begin, size).copy_(at::softmax(score_nT, 1).mul_(v_nT));
  }
  return out_nT;
}

at::Tensor Lorsa::output_norms() const {
  const at::NoGradGuard no_grad;
  return at::linalg_vector_norm(weights_.W_O, 2, at::IntArrayRef{1});
}

void Lorsa::fold(double input_scale, double target_scale) {
  const at::NoGradGuard no_grad;
  for (at::Tensor* tensor : {&weights_.W_Q, &weights_.W_K, &weights_.W_V}) {
    tensor->mul_(input_scale);
  }
  weights_.W_O.div_(target_scale);
  weights_.b_D.div_(target_scale);
}

void Lorsa::to_unit_form() {
  const at::NoGradGuard no_grad;
  const at::Tensor norm_H = output_norms();
  // A head that writes nothing keeps a zero row and gets activation 0, which is
  // the length of what it writes.
  const at::Tensor divisor_H = at::where(norm_H > 0, norm_H, at::ones_like(norm_H));
  weights_.W_V.mul_(norm_H.unsqueeze(1));
  weights_.b_V.mul_(norm_H);
  weights_.W_O.div_(divisor_H.unsqueeze(1));
}

}  // namespace lorsa::model
