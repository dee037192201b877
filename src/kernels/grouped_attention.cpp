#include "kernels/grouped_attention.h"

#include <ATen/core/Tensor.h>

#include <algorithm>

#include "kernels/block_product.h"
#include "kernels/cpu/attention_rows.h"
#include "kernels/for_each_task.h"
#include "kernels/panels.h"

// The two products of every (sequence, key head) run query block by query block and key panel by
// key panel, so that panels after the block are never touched and the block's scores stay in the
// second-level cache. Keys are transposed, and rows of a head that do not lie together are copied
// once: in a [B, T, M, E] tensor they lie so far apart that a cache set holds few of them. Query
// heads of one key head are stacked into one product. LibTorch's own CPU attention reaches a fifth
// of its matrix product's rate at these sizes.

namespace lorsa::kernels {
namespace {

/// Rows of a score block, query heads of one key head counted one by one. The causal half costs
/// (T + 128) / T of itself in blocks of 64 by panels of 64, and oneDNN's kernel loses nothing.
constexpr int64_t kRows = 64;
/// Tasks per thread, at least, so that threads end at about the same time.
constexpr int64_t kTasksPerThread = 4;

struct GroupedSizes {
  int64_t B, T, N, M, E, G;

  [[nodiscard]] int64_t group() const { return N / M; }

  [[nodiscard]] int64_t query_block() const {
    return std::min(std::max<int64_t>(kRows / group(), 1), T);
  }

  [[nodiscard]] int64_t num_blocks() const { return (T + query_block() - 1) / query_block(); }
};

/// Element [b, t, n, 0] of a [B, T, N, width] tensor.
template <typename T>
T* element(const at::Tensor& x_BTNW, int64_t b, int64_t t, int64_t n) {
  return x_BTNW.data_ptr<T>() + b * x_BTNW.stride(0) + t * x_BTNW.stride(1) + n * x_BTNW.stride(2);
}

template <typename T>
class Worker {
 public:
  Worker(const GroupedSizes& sizes,
         const at::Tensor& q,
         const at::Tensor& k,
         const at::Tensor& v,
         T scale,
         const at::Tensor& z,
         const at::Tensor& lse)
      : n_(sizes),
        q_(q),
        k_(k),
        v_(v),
        scale_(scale),
        z_(z),
        lse_(lse),
        stride_(num_panels(sizes.T) * kPanelKeys + kStridePadding),
        k_panels_(sizes.T, sizes.E),
        v_TG_(static_cast<size_t>(sizes.T * sizes.G)) {
    const int64_t rows = n_.query_block() * n_.group();
    scores_.resize(static_cast<size_t>(rows * stride_));
    q_rows_.resize(static_cast<size_t>(rows * n_.E));
    z_rows_.resize(static_cast<size_t>(rows * n_.G));
  }

  /// The query blocks [first, last) of sequence b and key head m.
  void run(int64_t b, int64_t m, int64_t first, int64_t last) {
    k_panels_.fill({element<T>(k_, b, 0, m), k_.stride(1)});
    v_rows_ = together<T>({element<T>(v_, b, 0, m), v_.stride(1)}, n_.T, n_.G, v_TG_.data());
    for (int64_t block = first; block < last; ++block) {
      const int64_t begin = block * n_.query_block();
      queries(b, m, begin, std::min(begin + n_.query_block(), n_.T));
    }
  }

 private:
  /// Queries [begin, end) of all heads that read key head m, those of one position behind one
  /// another.
  void queries(int64_t b, int64_t m, int64_t begin, int64_t end) {
    const int64_t group = n_.group();
    const int64_t rows = (end - begin) * group;
    const int64_t panels = num_panels(end);
    const T* q = together<T>({element<T>(q_, b, begin, m * group), q_.stride(1)}, end - begin,
                             group * n_.E, q_rows_.data());
    for (int64_t j = 0; j < panels; ++j) {
      const int64_t columns = k_panels_.columns(j);
      block_product({rows, columns, n_.E, n_.E, columns, stride_}, Sum::kReplace, q, k_panels_[j],
                    scores_.data() + j * kPanelKeys);
    }
    softmax(b, m, begin, rows, std::min(panels * kPanelKeys, n_.T));
    for (int64_t j = 0; j < panels; ++j) {
      block_product({rows, n_.G, k_panels_.columns(j), stride_, n_.G, n_.G},
                    j > 0 ? Sum::kAdd : Sum::kReplace, scores_.data() + j * kPanelKeys,
                    v_rows_ + j * kPanelKeys * n_.G, z_rows_.data());
    }
    const T* from = z_rows_.data();
    T* to = element<T>(z_, b, begin, m * group);
    for (int64_t t = begin; t < end; ++t, from += group * n_.G, to += z_.stride(1)) {
      std::copy_n(from, group * n_.G, to);
    }
  }

  void softmax(int64_t b, int64_t m, int64_t first, int64_t rows, int64_t keys) {
    const int64_t group = n_.group();
    T* row = scores_.data();
    T* lse = lse_.defined() ? lse_.data_ptr<T>() : nullptr;
    for (int64_t i = 0; i < rows; ++i, row += stride_) {
      const int64_t t = first + i / group;
      const T log_sum = cpu::softmax_row(row, t + 1, keys, scale_);
      if (lse != nullptr) {
        lse[(b * n_.N + m * group + i % group) * n_.T + t] = log_sum;
      }
    }
  }

  const GroupedSizes n_;
  const at::Tensor& q_;
  const at::Tensor& k_;
  const at::Tensor& v_;
  const T scale_;
  const at::Tensor& z_;
  const at::Tensor& lse_;
  const int64_t stride_;  // of a row of scores
  TransposedPanels<T> k_panels_;
  std::vector<T> v_TG_, scores_, q_rows_, z_rows_;
  const T* v_rows_ = nullptr;
};

template <typename T>
void run(const GroupedSizes& n,
         const at::Tensor& q,
         const at::Tensor& k,
         const at::Tensor& v,
         T scale,
         const at::Tensor& z,
         const at::Tensor& lse) {
  const int64_t units = n.B * n.M;
  // A part copies all keys of its unit: no more parts than the threads need.
  const int64_t wanted = kTasksPerThread * at::get_num_threads();
  const int64_t parts =
      std::clamp<int64_t>((wanted + units - 1) / std::max<int64_t>(units, 1), 1, n.num_blocks());
  for_each_task(units * parts, [&] {
    return [&, worker = Worker<T>(n, q, k, v, scale, z, lse)](int64_t task) mutable {
      const int64_t unit = task / parts;
      const int64_t part = task % parts;
      worker.run(unit / n.M, unit % n.M, part * n.num_blocks() / parts,
                 (part + 1) * n.num_blocks() / parts);
    };
  });
}

}  // namespace

void grouped_attention_cpu(const at::Tensor& q_BTNE,
                           const at::Tensor& k_BTME,
                           const at::Tensor& v_BTMG,
                           double scale,
                           const at::Tensor& z_BTNG,
                           const at::Tensor& lse_BNT) {
  const GroupedSizes n = {q_BTNE.size(0), q_BTNE.size(1), q_BTNE.size(2),
                          k_BTME.size(2), q_BTNE.size(3), v_BTMG.size(3)};
  if (n.B == 0 || n.T == 0) {
    return;
  }
  if (q_BTNE.scalar_type() == at::kDouble) {
    run<double>(n, q_BTNE, k_BTME, v_BTMG, scale, z_BTNG, lse_BNT);
  } else {
    run<float>(n, q_BTNE, k_BTME, v_BTMG, static_cast<float>(scale), z_BTNG, lse_BNT);
  }
}

}  // namespace lorsa::kernels
