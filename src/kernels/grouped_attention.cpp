#include "kernels/grouped_attention.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/core/LegacyTypeDispatch.h>

#include <algorithm>

#include "kernels/cpu/attention_rows.h"

// The two products of every (sequence, key head) run query block by query block, so that keys after
// the block are never touched and the block's scores stay in the second-level cache. Query heads of
// one key head are stacked into one product. LibTorch's own CPU attention reaches a fifth of its
// matrix product's rate at these sizes.

namespace lorsa::kernels {
namespace {

/// Queries of a block. Smaller blocks skip more of the masked half but make the products smaller.
constexpr int64_t kQueryBlock = 128;
/// 1 MiB of float32 scores: fits the second-level cache of current server cores.
constexpr int64_t kMostScores = int64_t{1} << 18;
/// Below, the products are too small for their rate.
constexpr int64_t kLeastRows = 32;

struct Sizes {
  int64_t B, T, N, M, E, G;

  [[nodiscard]] int64_t group() const { return N / M; }

  [[nodiscard]] int64_t query_block() const {
    const int64_t fitting = std::max(kMostScores / T, kLeastRows) / group();
    return std::clamp<int64_t>(fitting, 1, std::min(kQueryBlock, T));
  }
};

// The [T, width] matrix of sequence b and head n inside a [B, T, N, width] tensor.
at::Tensor head_matrix(const at::Tensor& x_BTNW, int64_t b, int64_t n) {
  return x_BTNW.select(0, b).select(1, n);
}

template <typename T>
class Worker {
 public:
  Worker(const Sizes& sizes,
         const at::Tensor& q,
         const at::Tensor& k,
         const at::Tensor& v,
         T scale,
         const at::Tensor& z,
         const at::Tensor& lse)
      : n_(sizes), q_(q), k_(k), v_(v), scale_(scale), z_(z), lse_(lse) {
    const int64_t rows = n_.query_block() * n_.group();
    scores_ = at::empty({rows * n_.T}, q.options());
    if (n_.group() > 1) {
      q_rows_ = at::empty({rows, n_.E}, q.options());
      z_rows_ = at::empty({rows, n_.G}, q.options());
    }
  }

  /// Queries [first, last) of all heads that read key head m.
  void run(int64_t b, int64_t m, int64_t first, int64_t last) {
    const int64_t rows = (last - first) * n_.group();
    at::Tensor scores = scores_.narrow(0, 0, rows * last).view({rows, last});
    at::mm_out(scores, queries(b, m, first, last), head_matrix(k_, b, m).slice(0, 0, last).t());
    softmax(scores, b, m, first);
    const at::Tensor v = head_matrix(v_, b, m).slice(0, 0, last);
    if (n_.group() == 1) {
      at::Tensor z = head_matrix(z_, b, m).slice(0, first, last);
      at::mm_out(z, scores, v);
      return;
    }
    at::Tensor z = z_rows_.narrow(0, 0, rows);
    at::mm_out(z, scores, v);
    const T* from = z.const_data_ptr<T>();
    const int64_t width = n_.group() * n_.G;
    for (int64_t t = first; t < last; ++t, from += width) {
      std::copy_n(from, width, z_.data_ptr<T>() + offset(z_, b, t) + m * width);
    }
  }

 private:
  static int64_t offset(const at::Tensor& x_BTNW, int64_t b, int64_t t) {
    return b * x_BTNW.stride(0) + t * x_BTNW.stride(1);
  }

  /// [(last - first) * group, E], the heads of one position behind one another.
  at::Tensor queries(int64_t b, int64_t m, int64_t first, int64_t last) {
    if (n_.group() == 1) {
      return head_matrix(q_, b, m).slice(0, first, last);
    }
    const int64_t width = n_.group() * n_.E;
    T* to = q_rows_.data_ptr<T>();
    for (int64_t t = first; t < last; ++t, to += width) {
      std::copy_n(q_.const_data_ptr<T>() + offset(q_, b, t) + m * width, width, to);
    }
    return q_rows_.narrow(0, 0, (last - first) * n_.group());
  }

  void softmax(const at::Tensor& scores, int64_t b, int64_t m, int64_t first) const {
    const int64_t group = n_.group();
    const int64_t keys = scores.size(1);
    T* row = scores.data_ptr<T>();
    T* lse = lse_.defined() ? lse_.data_ptr<T>() : nullptr;
    for (int64_t i = 0; i < scores.size(0); ++i, row += keys) {
      const int64_t t = first + i / group;
      const T log_sum = cpu::softmax_row(row, t + 1, keys, scale_);
      if (lse != nullptr) {
        lse[(b * n_.N + m * group + i % group) * n_.T + t] = log_sum;
      }
    }
  }

  const Sizes n_;
  const at::Tensor& q_;
  const at::Tensor& k_;
  const at::Tensor& v_;
  const T scale_;
  const at::Tensor& z_;
  const at::Tensor& lse_;
  at::Tensor scores_, q_rows_, z_rows_;
};

template <typename T>
void run(const Sizes& n,
         const at::Tensor& q,
         const at::Tensor& k,
         const at::Tensor& v,
         T scale,
         const at::Tensor& z,
         const at::Tensor& lse) {
  const int64_t block = n.query_block();
  const int64_t blocks = (n.T + block - 1) / block;
  at::parallel_for(0, n.B * n.M * blocks, 1, [&](int64_t begin, int64_t end) {
    const at::AutoDispatchBelowADInplaceOrView no_autograd;
    Worker<T> worker(n, q, k, v, scale, z, lse);
    for (int64_t task = begin; task < end; ++task) {
      const int64_t unit = task / blocks;
      const int64_t first = task % blocks * block;
      worker.run(unit / n.M, unit % n.M, first, std::min(first + block, n.T));
    }
  });
}

}  // namespace

void grouped_attention_cpu(const at::Tensor& q_BTNE,
                           const at::Tensor& k_BTME,
                           const at::Tensor& v_BTMG,
                           double scale,
                           const at::Tensor& z_BTNG,
                           const at::Tensor& lse_BNT) {
  const Sizes n = {q_BTNE.size(0),
                   q_BTNE.size(1),
                   q_BTNE.size(2),
                   k_BTME.size(2),
                   q_BTNE.size(3),
                   v_BTMG.size(3)};
  if (q_BTNE.scalar_type() == at::kDouble) {
    run<double>(n, q_BTNE, k_BTME, v_BTMG, scale, z_BTNG, lse_BNT);
  } else {
    run<float>(n, q_BTNE, k_BTME, v_BTMG, static_cast<float>(scale), z_BTNG, lse_BNT);
  }
}

}  // namespace lorsa::kernels
