#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <limits>
#include <tuple>

#include "kernels/cpu/attention_rows.h"
#include "lorsa/core/error.h"
#include "lorsa/model/dictionary.h"
#include "model/projections.h"

namespace lorsa::model {
namespace {

// Values of the keys that are gathered at a time: 64 MiB in float32.
constexpr int64_t kGatheredValues = int64_t{1} << 24;

void check_queries(const std::vector<PatternQuery>& queries, int64_t B, int64_t T, int64_t H) {
  for (const PatternQuery& query : queries) {
    LORSA_CHECK(query.row >= 0 && query.row < B && query.position >= 0 && query.position < T &&
                    query.head >= 0 && query.head < H,
                ShapeError,
                "z_patterns: query (row {}, position {}, head {}) is outside [{}, {}, {}]",
                query.row, query.position, query.head, B, T, H);
  }
}

/// A field of all queries as int64 on `device`.
at::Tensor column(const std::vector<PatternQuery>& queries,
                  int64_t PatternQuery::*field,
                  c10::Device device) {
  at::Tensor out_n = at::empty({static_cast<int64_t>(queries.size())}, at::kLong);
  int64_t* out = out_n.mutable_data_ptr<int64_t>();
  for (const PatternQuery& query : queries) {
    *out++ = query.*field;
  }
  return out_n.to(device);
}

/// An SAE's patterns: z at the own position.
at::Tensor at_own_position(const at::Tensor& z_n, const at::Tensor& position_n, int64_t T) {
  return at::zeros({z_n.size(0), T}, z_n.options())
      .scatter_(1, position_n.unsqueeze(1), z_n.unsqueeze(1));
}

/// Patterns by tensor functions: q, k [B, T, S, E]; v [B, T, m] of which query n reads place_n.
at::Tensor gathered_patterns(const DictionaryShape& shape,
                             const DictionaryWeights& weights,
                             const at::Tensor& q_BTSE,
                             const at::Tensor& k_BTSE,
                             const at::Tensor& v_BTm,
                             const std::vector<PatternQuery>& queries,
                             const at::Tensor& place_n) {
  const auto n = static_cast<int64_t>(queries.size());
  const int64_t T = q_BTSE.size(1);
  const at::Tensor row_n = column(queries, &PatternQuery::row, q_BTSE.device());
  const at::Tensor position_n = column(queries, &PatternQuery::position, q_BTSE.device());
  const at::Tensor s_n =
      at::floor_divide(column(queries, &PatternQuery::head, q_BTSE.device()), shape.group());
  const at::Tensor v_BmT = v_BTm.transpose(1, 2);
  const at::Tensor future_T = at::arange(T, row_n.options());

  const auto virtual_scores = [&](const at::Tensor& q_nE, const at::Tensor& qk_head_n) {
    const at::Tensor key_nvE = weights.virtual_k.index_select(1, qk_head_n).transpose(0, 1);
    return at::bmm(key_nvE, q_nE.unsqueeze(2)).squeeze(2) / shape.attn_scale;
  };
  at::Tensor out_nT = at::empty({n, T}, q_BTSE.options());
  // The keys of a query are copied: a slice of queries at a time bounds that.
  const int64_t slice = std::max<int64_t>(1, kGatheredValues / (T * shape.d_qk));
  for (int64_t begin = 0; begin < n; begin += slice) {
    const int64_t size = std::min(slice, n - begin);
    const auto part = [&](const at::Tensor& all_n) { return all_n.narrow(0, begin, size); };
    const at::Tensor q_nE1 =
        at::index(q_BTSE, {part(row_n), part(position_n), part(s_n)}).unsqueeze(2);
    const at::Tensor k_nTE = at::index(k_BTSE.transpose(1, 2), {part(row_n), part(s_n)});
    const at::Tensor score_nT = at::bmm(k_nTE, q_nE1).squeeze(2).div_(shape.attn_scale);
    score_nT.masked_fill_(future_T.unsqueeze(0) > part(position_n).unsqueeze(1),
                          -std::numeric_limits<double>::infinity());
    const at::Tensor v_nT = at::index(v_BmT, {part(row_n), part(place_n)});
    const at::Tensor weight_nT =
        weights.virtual_k.defined()
            ? at::softmax(at::cat({score_nT, virtual_scores(q_nE1.squeeze(2), part(s_n))}, 1), 1)
                  .narrow(1, 0, T)
            : at::softmax(score_nT, 1);
    out_nT.narrow(0, begin, size).copy_(weight_nT * v_nT);
  }
  return out_nT;
}

/// The same query by query over keys and values where they lie: nothing is copied, so that many
/// queries cost a small part of the pass that made them. No virtual keys.
template <typename T>
at::Tensor patterns_in_place(const DictionaryShape& shape,
                             const Reading& reading,
                             const std::vector<PatternQuery>& queries) {
  const int64_t length = reading.q_BTSE.size(1);
  const int64_t E = shape.d_qk;
  const int64_t group = shape.group();
  const auto first_of = [](const at::Tensor& x_BTSW, int64_t row, int64_t s) {
    return x_BTSW.const_data_ptr<T>() + row * x_BTSW.stride(0) + s * x_BTSW.stride(2);
  };
  const at::Tensor& q_BTSE = reading.q_BTSE;
  const at::Tensor& k_BTSE = reading.k_BTSE;
  const at::Tensor& v_BTSG = reading.v_BTSG;
  at::Tensor out_nT =
      at::empty({static_cast<int64_t>(queries.size()), length}, reading.q_BTSE.options());
  T* out = out_nT.mutable_data_ptr<T>();
  for (const PatternQuery& query : queries) {
    const int64_t live = query.position + 1;
    const int64_t s = query.head / group;
    const T* q = first_of(q_BTSE, query.row, s) + query.position * q_BTSE.stride(1);
    const T* v = first_of(v_BTSG, query.row, s) + query.head % group;
    kernels::cpu::row_products(q, first_of(k_BTSE, query.row, s), k_BTSE.stride(1), live, E, out);
    kernels::cpu::softmax_row(out, live, length, static_cast<T>(1.0 / shape.attn_scale));
    for (int64_t j = 0; j < live; ++j) {
      out[j] *= v[j * v_BTSG.stride(1)];
    }
    out += length;
  }
  return out_nT;
}

bool lies_on_cpu(const Reading& reading) {
  const at::Tensor& q = reading.q_BTSE;
  return q.is_cpu() && q.stride(3) == 1 && reading.k_BTSE.stride(3) == 1 &&
         reading.v_BTSG.stride(3) == 1 &&
         (q.scalar_type() == at::kFloat || q.scalar_type() == at::kDouble);
}

}  // namespace

at::Tensor Dictionary::z_patterns(const at::Tensor& x_BTD,
                                  const std::vector<PatternQuery>& queries) const {
  const at::NoGradGuard no_grad;
  const int64_t T = x_BTD.size(1);
  if (queries.empty()) {
    return at::zeros({0, T}, x_BTD.options());
  }
  check_queries(queries, x_BTD.size(0), T, shape_.num_ov_heads);
  const at::Tensor head_n = column(queries, &PatternQuery::head, x_BTD.device());
  if (shape_.num_qk_heads == 0) {
    const at::Tensor row_n = column(queries, &PatternQuery::row, x_BTD.device());
    const at::Tensor position_n = column(queries, &PatternQuery::position, x_BTD.device());
    const at::Tensor z_n =
        (at::index(x_BTD, {row_n, position_n}) * weights_.W_V.index_select(0, head_n)).sum(1) +
        weights_.b_V.index_select(0, head_n);
    return at_own_position(z_n, position_n, T);
  }
  const Projections p = project_qk(shape_, weights_, x_BTD);
  // Values of the asked heads only: a batch asks for few of tens of thousands.
  const auto [head_m, place_n, unused] =
      at::unique_dim(head_n, 0, /*sorted=*/true, /*return_inverse=*/true);
  const at::Tensor v_BTm = at::addmm(weights_.b_V.index_select(0, head_m), p.x_PD,
                                     weights_.W_V.index_select(0, head_m).t())
                               .view({x_BTD.size(0), T, -1});
  return gathered_patterns(shape_, weights_, p.q_BTSE, p.k_BTSE, v_BTm, queries, place_n);
}

at::Tensor Dictionary::z_patterns(const Reading& reading,
                                  const std::vector<PatternQuery>& queries) const {
  const at::NoGradGuard no_grad;
  const int64_t B = reading.v_BTSG.size(0);
  const int64_t T = reading.v_BTSG.size(1);
  if (queries.empty()) {
    return at::zeros({0, T}, reading.v_BTSG.options());
  }
  check_queries(queries, B, T, shape_.num_ov_heads);
  if (shape_.num_qk_heads > 0 && !weights_.virtual_k.defined() && lies_on_cpu(reading)) {
    return reading.q_BTSE.scalar_type() == at::kFloat
               ? patterns_in_place<float>(shape_, reading, queries)
               : patterns_in_place<double>(shape_, reading, queries);
  }
  const at::Tensor v_BTH = reading.v_BTSG.reshape({B, T, shape_.num_ov_heads});
  const at::Tensor head_n = column(queries, &PatternQuery::head, v_BTH.device());
  if (shape_.num_qk_heads == 0) {
    const at::Tensor row_n = column(queries, &PatternQuery::row, v_BTH.device());
    const at::Tensor position_n = column(queries, &PatternQuery::position, v_BTH.device());
    return at_own_position(at::index(v_BTH, {row_n, position_n, head_n}), position_n, T);
  }
  return gathered_patterns(shape_, weights_, reading.q_BTSE, reading.k_BTSE, v_BTH, queries,
                           head_n);
}

}  // namespace lorsa::model
