#include "lorsa/kernels/attention.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/core/LegacyTypeDispatch.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/cpu/attention_rows.h"
#include "kernels/grouped_attention.h"
#include "lorsa/core/error.h"

// LibTorch's own CPU attention cannot use in its backward that few heads are kept.

namespace lorsa::kernels {
namespace {

// 128 queries x 2048 keys x 4 bytes = 1 MiB of scores: fits the second-level cache of current
// server cores.
constexpr int64_t kQueryBlock = 128;

struct Sizes {
  int64_t B, T, S, E, G;
};

Sizes check(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) {
  LORSA_CHECK(q.dim() == 4 && k.sizes() == q.sizes() && v.dim() == 4 &&
                  v.sizes().slice(0, 3) == q.sizes().slice(0, 3),
              ShapeError,
              "attention: expected q, k [B, T, S, E] and v [B, T, S, G], found ",
              q.sizes(),
              ", ",
              k.sizes(),
              ", ",
              v.sizes());
  LORSA_CHECK(q.scalar_type() == k.scalar_type() && q.scalar_type() == v.scalar_type(),
              ShapeError,
              "attention: q, k and v have different dtypes: ",
              q.scalar_type(),
              ", ",
              k.scalar_type(),
              ", ",
              v.scalar_type());
  return {q.size(0), q.size(1), q.size(2), q.size(3), v.size(3)};
}

// The [T, width] matrix of sequence b and QK head s inside a [B, T, S, width] tensor: rows S*width
// apart.
at::Tensor head_matrix(const at::Tensor& x_BTSW, int64_t b, int64_t s) {
  return x_BTSW.select(0, b).select(1, s);
}

// A kept head's gradient at one position, within one sequence and QK head.
template <typename T>
struct Entry {
  int64_t position;
  int64_t member;  // g in [0, G)
  T gradient;
};

// Entries of every (sequence, QK head) in ascending position; zero gradients dropped.
template <typename T>
std::vector<std::vector<Entry<T>>> entries_by_unit(const at::Tensor& grad_PK,
                                                   const at::Tensor& head_PK,
                                                   const Sizes& n) {
  const int64_t kept = grad_PK.size(1);
  const T* gradient = grad_PK.data_ptr<T>();
  const int32_t* head = head_PK.data_ptr<int32_t>();
  std::vector<std::vector<Entry<T>>> units(static_cast<size_t>(n.B * n.S));
  at::parallel_for(0, n.B, 1, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) {
      for (int64_t t = 0; t < n.T; ++t) {
        const int64_t row = (b * n.T + t) * kept;
        for (int64_t i = row; i < row + kept; ++i) {
          if (gradient[i] != T(0)) {
            const int64_t s = head[i] / n.G;
            units[static_cast<size_t>(b * n.S + s)].push_back({t, head[i] % n.G, gradient[i]});
          }
        }
      }
    }
  });
  return units;
}

// What one thread needs to work through its units.
struct Workspace {
  at::Tensor weights, d_scores;  // [kQueryBlock, T]
  at::Tensor q_rows, d_q_rows;   // [kQueryBlock, E]
  at::Tensor v_GT, d_v_GT;       // [G, T]

  Workspace(const Sizes& n, const at::TensorOptions& options) {
    weights = at::empty({kQueryBlock * n.T}, options);
    d_scores = at::empty({kQueryBlock * n.T}, options);
    q_rows = at::empty({kQueryBlock, n.E}, options);
    d_q_rows = at::empty({kQueryBlock, n.E}, options);
    v_GT = at::empty({n.G, n.T}, options);
    d_v_GT = at::empty({n.G, n.T}, options);
  }
};

template <typename T>
class UnitBackward {
 public:
  UnitBackward(const Sizes& sizes, T scale, const at::TensorOptions& options)
      : n_(sizes), scale_(scale), work_(sizes, options) {}

  // All matrices are views of one sequence and QK head; the gradients come zeroed.
  void run(const std::vector<Entry<T>>& entries,
           const at::Tensor& q_TE,
           const at::Tensor& k_TE,
           const at::Tensor& v_TG,
           const at::Tensor& z_TG,
           const T* lse_T,
           const at::Tensor& d_q_TE,
           const at::Tensor& d_k_TE,
           const at::Tensor& d_v_TG) {
    if (entries.empty()) {
      return;
    }
    work_.v_GT.copy_(v_TG.t());
    work_.d_v_GT.zero_();
    size_t next = 0;
    while (next < entries.size()) {
      next = run_block(entries, next, q_TE, k_TE, z_TG, lse_T, d_q_TE, d_k_TE);
    }
    d_v_TG.copy_(work_.d_v_GT.t());
  }

 private:
  // Takes up to kQueryBlock positions that have entries, from entry `begin` on; returns the first
  // entry not taken.
  size_t run_block(const std::vector<Entry<T>>& entries,
                   size_t begin,
                   const at::Tensor& q_TE,
                   const at::Tensor& k_TE,
                   const at::Tensor& z_TG,
                   const T* lse_T,
                   const at::Tensor& d_q_TE,
                   const at::Tensor& d_k_TE) {
    positions_.clear();
    size_t end = begin;
    while (end < entries.size()) {
      if (positions_.empty() || positions_.back() != entries[end].position) {
        if (static_cast<int64_t>(positions_.size()) == kQueryBlock) {
          break;
        }
        positions_.push_back(entries[end].position);
      }
      ++end;
    }
    const auto rows = static_cast<int64_t>(positions_.size());
    const int64_t keys = positions_.back() + 1;
    at::Tensor q_rows = work_.q_rows.narrow(0, 0, rows);
    gather(q_TE, q_rows);
    at::Tensor weights = work_.weights.narrow(0, 0, rows * keys).view({rows, keys});
    at::mm_out(weights, q_rows, k_TE.narrow(0, 0, keys).t());
    at::Tensor d_scores = work_.d_scores.narrow(0, 0, rows * keys).view({rows, keys});
    softmax_rows(entries, begin, weights, d_scores, z_TG, lse_T, keys);
    at::Tensor d_q_rows = work_.d_q_rows.narrow(0, 0, rows);
    at::mm_out(d_q_rows, d_scores, k_TE.narrow(0, 0, keys));
    scatter(d_q_rows, d_q_TE);
    at::Tensor d_k = d_k_TE.narrow(0, 0, keys);
    at::addmm_out(d_k, d_k, d_scores.t(), q_rows);
    return end;
  }

  // Weights from the saved log-sum-exp; d_scores and d_v from the entries alone: a kept head costs
  // one row of V and one of dV.
  void softmax_rows(const std::vector<Entry<T>>& entries,
                    size_t entry,
                    at::Tensor& weights,
                    at::Tensor& d_scores,
                    const at::Tensor& z_TG,
                    const T* lse_T,
                    int64_t keys) {
    const T* z = z_TG.data_ptr<T>();
    const int64_t z_stride = z_TG.stride(0);
    const T* v = work_.v_GT.data_ptr<T>();
    T* d_v = work_.d_v_GT.data_ptr<T>();
    T* weight_row = weights.data_ptr<T>();
    T* d_row = d_scores.data_ptr<T>();
    for (const int64_t t : positions_) {
      cpu::weights_from_lse(weight_row, t + 1, keys, scale_, lse_T[t]);
      std::fill(d_row, d_row + keys, T(0));
      T dot = 0;  // sum_j w_j d_j = sum over kept heads of gradient * z
      for (; entry < entries.size() && entries[entry].position == t; ++entry) {
        const Entry<T>& e = entries[entry];
        cpu::axpy(d_row, v + e.member * n_.T, e.gradient, t + 1);
        cpu::axpy(d_v + e.member * n_.T, weight_row, e.gradient, t + 1);
        dot += e.gradient * z[t * z_stride + e.member];
      }
      cpu::softmax_backward_row(d_row, weight_row, keys, dot, scale_);
      weight_row += keys;
      d_row += keys;
    }
  }

  void gather(const at::Tensor& from_TE, at::Tensor& to_rows) const {
    const T* from = from_TE.data_ptr<T>();
    T* to = to_rows.data_ptr<T>();
    for (const int64_t t : positions_) {
      to = std::copy_n(from + t * from_TE.stride(0), n_.E, to);
    }
  }

  void scatter(const at::Tensor& from_rows, const at::Tensor& to_TE) const {
    const T* from = from_rows.data_ptr<T>();
    T* to = to_TE.data_ptr<T>();
    for (const int64_t t : positions_) {
      std::copy_n(from, n_.E, to + t * to_TE.stride(0));
      from += n_.E;
    }
  }

  Sizes n_;
  T scale_;
  Workspace work_;
  std::vector<int64_t> positions_;
};

template <typename T>
void backward_cpu(const at::Tensor& q,
                  const at::Tensor& k,
                  const at::Tensor& v,
                  const at::Tensor& z_BTSG,
                  const at::Tensor& lse_BST,
                  const at::Tensor& grad_PK,
                  const at::Tensor& head_PK,
                  const Sizes& n,
                  T scale,
                  AttentionGradients& out) {
  const auto units = entries_by_unit<T>(grad_PK, head_PK, n);
  const T* lse = lse_BST.data_ptr<T>();
  at::parallel_for(0, n.B * n.S, 1, [&](int64_t begin, int64_t end) {
    const at::AutoDispatchBelowADInplaceOrView no_autograd;
    UnitBackward<T> backward(n, scale, q.options());
    for (int64_t unit = begin; unit < end; ++unit) {
      const int64_t b = unit / n.S;
      const int64_t s = unit % n.S;
      backward.run(units[static_cast<size_t>(unit)],
                   head_matrix(q, b, s),
                   head_matrix(k, b, s),
                   head_matrix(v, b, s),
                   head_matrix(z_BTSG, b, s),
                   lse + unit * n.T,
                   head_matrix(out.grad_q_BTSE, b, s),
                   head_matrix(out.grad_k_BTSE, b, s),
                   head_matrix(out.grad_v_BTSG, b, s));
    }
  });
}

// [B, T, S, W] -> [B, S, T, W]
at::Tensor heads_first(const at::Tensor& x) {
  return x.transpose(1, 2);
}

at::Tensor causal_scores(const at::Tensor& q, const at::Tensor& k, double attn_scale) {
  const at::Tensor scores =
      at::matmul(heads_first(q), heads_first(k).transpose(2, 3)).to(at::kFloat) / attn_scale;
  const int64_t t = q.size(1);
  const at::Tensor future = at::ones({t, t}, scores.options().dtype(at::kBool)).triu(1);
  return scores.masked_fill(future, -std::numeric_limits<double>::infinity());
}

// Devices without a kernel of the project: the formula in LibTorch's operators.
AttentionResult forward_aten(const at::Tensor& q,
                             const at::Tensor& k,
                             const at::Tensor& v,
                             double attn_scale) {
  const at::Tensor scores = causal_scores(q, k, attn_scale);
  const at::Tensor lse = at::logsumexp(scores, -1);
  const at::Tensor weights = at::exp(scores - lse.unsqueeze(-1)).to(v.scalar_type());
  const at::Tensor z = at::matmul(weights, heads_first(v));
  return {heads_first(z).reshape({q.size(0) * q.size(1), q.size(2) * v.size(3)}), lse};
}

AttentionGradients backward_aten(const at::Tensor& q,
                                 const at::Tensor& k,
                                 const at::Tensor& v,
                                 const AttentionResult& result,
                                 const at::Tensor& grad_PK,
                                 const at::Tensor& head_PK,
                                 double attn_scale) {
  const at::Tensor weights =
      at::exp(causal_scores(q, k, attn_scale) - result.lse_BST.unsqueeze(-1));
  const at::Tensor d_z_PH =
      at::zeros_like(result.z_PH)
          .scatter_(1, head_PK.to(at::kLong), grad_PK.to(result.z_PH.scalar_type()));
  const at::Tensor d_z = heads_first(d_z_PH.view({q.size(0), q.size(1), q.size(2), v.size(3)}));
  const at::Tensor d_weights = at::matmul(d_z, heads_first(v).transpose(2, 3)).to(at::kFloat);
  const at::Tensor dot = (weights * d_weights).sum(-1, /*keepdim=*/true);
  const at::Tensor d_scores = (weights * (d_weights - dot) / attn_scale).to(q.scalar_type());
  AttentionGradients out;
  out.grad_q_BTSE = heads_first(at::matmul(d_scores, heads_first(k))).contiguous();
  out.grad_k_BTSE = heads_first(at::matmul(d_scores.transpose(2, 3), heads_first(q))).contiguous();
  out.grad_v_BTSG =
      heads_first(at::matmul(weights.to(v.scalar_type()).transpose(2, 3), d_z)).contiguous();
  return out;
}

}  // namespace

AttentionResult attention_forward(const at::Tensor& q_BTSE,
                                  const at::Tensor& k_BTSE,
                                  const at::Tensor& v_BTSG,
                                  double attn_scale) {
  const Sizes n = check(q_BTSE, k_BTSE, v_BTSG);
  if (!q_BTSE.is_cpu()) {
    return forward_aten(q_BTSE, k_BTSE, v_BTSG, attn_scale);
  }
  at::Tensor z = at::empty({n.B, n.T, n.S, n.G}, q_BTSE.options());
  at::Tensor lse = at::empty({n.B, n.S, n.T}, q_BTSE.options());
  LORSA_CHECK(q_BTSE.scalar_type() == at::kFloat || q_BTSE.scalar_type() == at::kDouble,
              ShapeError,
              "attention on the CPU: expected float32 or float64, found ",
              q_BTSE.scalar_type());
  grouped_attention_cpu(q_BTSE, k_BTSE, v_BTSG, 1.0 / attn_scale, z, lse);
  return {z.view({n.B * n.T, n.S * n.G}), lse};
}

AttentionGradients attention_backward(const at::Tensor& q_BTSE,
                                      const at::Tensor& k_BTSE,
                                      const at::Tensor& v_BTSG,
                                      const AttentionResult& result,
                                      const at::Tensor& grad_PK,
                                      const at::Tensor& head_PK,
                                      double attn_scale) {
  const Sizes n = check(q_BTSE, k_BTSE, v_BTSG);
  LORSA_CHECK(
      grad_PK.sizes() == head_PK.sizes() && grad_PK.dim() == 2 && grad_PK.size(0) == n.B * n.T,
      ShapeError,
      "attention_backward: expected grad and head [",
      n.B * n.T,
      ", K], found ",
      grad_PK.sizes(),
      " and ",
      head_PK.sizes());
  if (!q_BTSE.is_cpu()) {
    return backward_aten(q_BTSE, k_BTSE, v_BTSG, result, grad_PK, head_PK, attn_scale);
  }
  AttentionGradients out{at::zeros_like(q_BTSE), at::zeros_like(k_BTSE), at::zeros_like(v_BTSG)};
  const at::Tensor z = result.z_PH.view({n.B, n.T, n.S, n.G});
  const at::Tensor grad = grad_PK.contiguous();
  const at::Tensor head = head_PK.contiguous();
  if (q_BTSE.scalar_type() == at::kDouble) {
    backward_cpu<double>(
        q_BTSE, k_BTSE, v_BTSG, z, result.lse_BST, grad, head, n, 1.0 / attn_scale, out);
  } else {
    const auto scale = static_cast<float>(1.0 / attn_scale);
    backward_cpu<float>(q_BTSE, k_BTSE, v_BTSG, z, result.lse_BST, grad, head, n, scale, out);
  }
  return out;
}

}  // namespace lorsa::kernels
