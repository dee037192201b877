#include "kernels/attention_backward.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>

#include <algorithm>
#include <optional>
#include <span>

#include "kernels/attention_sources.h"
#include "kernels/block_product.h"
#include "kernels/cpu/attention_rows.h"
#include "kernels/for_each_task.h"
#include "kernels/panels.h"
#include "kernels/rotation.h"

// Every (sequence, QK head) is a unit of work for one thread: its query rows that have a gradient
// are taken together in blocks, the softmax weights are computed again from the log-sum-exp, and
// only panels of keys up to the block's last position are touched. What differs between the two
// passes is where d loss / d weights comes from: a Source.
//
// dK and dV are summed transposed, [E, T] and [G, T], so that the scores' gradient is the right
// operand of their products as it stands. They stay that way in memory: the products of the weight
// gradients read them by columns. Rows that RoPE turned are turned back before they leave the
// caches.

namespace lorsa::kernels {
namespace {

/// Blocks are filled up with rows of zeros to a multiple of this: few shapes for block_product.
constexpr int64_t kRowStep = 16;

template <typename T, typename Source>
class UnitBackward {
 public:
  UnitBackward(const AttentionSizes& n,
               T scale,
               Outside outside,
               const RowRotation<T>* rotation,
               Source source)
      : n_(n),
        scale_(scale),
        outside_(outside),
        rotation_(rotation),
        source_(std::move(source)),
        k_panels_(n.T, n.E),
        k_TE_(static_cast<size_t>(n.T * n.E)),
        d_k_ET_(static_cast<size_t>(n.E * n.stride())),
        weights_(static_cast<size_t>(kBackwardRows * n.stride())),
        d_weights_(static_cast<size_t>(kBackwardRows * n.stride())),
        q_rows_(static_cast<size_t>(kBackwardRows * n.E)),
        q_ER_(static_cast<size_t>(kBackwardRows * n.E)),
        d_q_rows_(static_cast<size_t>(kBackwardRows * n.E)) {}

  void run(const AttentionUnit<T>& unit) {
    const bool queries_too = unit.d_q.data != nullptr;
    bool first = true;
    source_.begin(unit);
    for (int64_t g = 0; g < n_.G; ++g) {
      if (outside_ == Outside::kZero || source_.acts(g)) {
        std::fill_n(unit.d_v + g * unit.d_v_stride, n_.T, T(0));
      }
    }
    for (int64_t t = 0; queries_too && outside_ == Outside::kZero && t < n_.T; ++t) {
      std::fill_n(unit.d_q[t], n_.E, T(0));
    }
    for (;; first = false) {
      positions_.clear();
      source_.next(positions_);
      if (positions_.empty()) {
        break;
      }
      if (first) {
        begin(unit, queries_too);
      }
      run_block(unit, queries_too);
    }
    if (queries_too) {
      write_keys(unit, first);
    }
  }

 private:
  void begin(const AttentionUnit<T>& unit, bool queries_too) {
    k_panels_.fill(unit.k);
    if (queries_too) {
      k_rows_ = together(unit.k, n_.T, n_.E, k_TE_.data());
      std::fill(d_k_ET_.begin(), d_k_ET_.end(), T(0));
    }
  }

  void write_keys(const AttentionUnit<T>& unit, bool zero) {
    if (!zero && rotation_ != nullptr) {
      rotation_->unrotate_columns(d_k_ET_.data(), n_.stride(), n_.E, n_.T, unit.d_k.data,
                                  unit.d_k.stride);
      return;
    }
    for (int64_t e = 0; e < n_.E; ++e) {
      if (zero) {
        std::fill_n(unit.d_k[e], n_.T, T(0));
      } else {
        std::copy_n(d_k_ET_.data() + e * n_.stride(), n_.T, unit.d_k[e]);
      }
    }
  }

  void run_block(const AttentionUnit<T>& unit, bool queries_too) {
    const int64_t rows = std::ssize(positions_);
    const int64_t padded = (rows + kRowStep - 1) / kRowStep * kRowStep;
    const int64_t panels = num_panels(positions_.back() + 1);
    const BackwardBlock<T> block{positions_,  padded,
                                 panels,      std::min(panels * kPanelKeys, n_.T),
                                 n_.stride(), weights_.data()};
    weigh(unit, block);
    source_.take(unit, block, queries_too ? d_weights_.data() : nullptr);
    if (!queries_too) {
      return;
    }
    for (int64_t i = 0; i < rows; ++i) {
      T* d_row = d_weights_.data() + i * block.stride;
      const T* row = weights_.data() + i * block.stride;
      T dot = 0;
      cpu::row_products(row, d_row, 0, 1, block.keys, &dot);
      cpu::softmax_backward_row(d_row, row, block.keys, dot, scale_);
    }
    for (int64_t i = rows; i < padded; ++i) {
      std::fill_n(d_weights_.data() + i * block.stride, block.keys, T(0));
    }
    multiply_back(unit, block);
  }

  /// The softmax weights of the block's rows.
  void weigh(const AttentionUnit<T>& unit, const BackwardBlock<T>& block) {
    const int64_t rows = std::ssize(positions_);
    std::fill_n(q_rows_.data() + rows * n_.E, (block.padded_rows - rows) * n_.E, T(0));
    for (int64_t i = 0; i < rows; ++i) {
      std::copy_n(unit.q[positions_[static_cast<size_t>(i)]], n_.E, q_rows_.data() + i * n_.E);
    }
    for (int64_t j = 0; j < block.panels; ++j) {
      const int64_t columns = k_panels_.columns(j);
      block_product({block.padded_rows, columns, n_.E, n_.E, columns, block.stride}, Sum::kReplace,
                    q_rows_.data(), k_panels_[j], weights_.data() + j * kPanelKeys);
    }
    for (int64_t i = 0; i < rows; ++i) {
      const int64_t t = positions_[static_cast<size_t>(i)];
      cpu::weights_from_lse(weights_.data() + i * block.stride, t + 1, block.keys, scale_,
                            unit.lse_T[t]);
    }
  }

  /// dQ = dS K for the block's rows, dK^T += Q^T dS, with dS in d_weights_.
  void multiply_back(const AttentionUnit<T>& unit, const BackwardBlock<T>& block) {
    cpu::transpose(q_rows_.data(), n_.E, block.padded_rows, n_.E, q_ER_.data(), block.padded_rows);
    for (int64_t j = 0; j < block.panels; ++j) {
      const int64_t columns = k_panels_.columns(j);
      const int64_t first = j * kPanelKeys;
      block_product({block.padded_rows, n_.E, columns, block.stride, n_.E, n_.E},
                    j > 0 ? Sum::kAdd : Sum::kReplace, d_weights_.data() + first,
                    k_rows_ + first * n_.E, d_q_rows_.data());
      block_product(
          {n_.E, columns, block.padded_rows, block.padded_rows, block.stride, block.stride},
          Sum::kAdd, q_ER_.data(), d_weights_.data() + first, d_k_ET_.data() + first);
    }
    for (size_t i = 0; i < positions_.size(); ++i) {
      T* row = d_q_rows_.data() + static_cast<int64_t>(i) * n_.E;
      if (rotation_ != nullptr) {
        rotation_->rotate(row, positions_[i], 1, 0, RopeDirection::kInverse);
      }
      std::copy_n(row, n_.E, unit.d_q[positions_[i]]);
    }
  }

  AttentionSizes n_;
  T scale_;
  Outside outside_;
  const RowRotation<T>* rotation_;
  Source source_;
  TransposedPanels<T> k_panels_;
  std::vector<T> k_TE_, d_k_ET_, weights_, d_weights_, q_rows_, q_ER_, d_q_rows_;
  const T* k_rows_ = nullptr;
  std::vector<int64_t> positions_;
};

/// Dimension 0 of head s in sequence b of a [B, T, S, E] tensor whose positions are contiguous.
template <typename T>
Rows<T> columns(const at::Tensor& x_BTSE, int64_t b, int64_t s) {
  return x_BTSE.defined()
             ? Rows<T>{x_BTSE.data_ptr<T>() + b * x_BTSE.stride(0) + s * x_BTSE.stride(2),
                       x_BTSE.stride(3)}
             : Rows<T>{};
}

/// make_source() on every thread.
template <typename T, typename MakeSource>
AttentionGradients run_units(const AttentionBackwardInput& in,
                             const AttentionSizes& n,
                             Outside outside,
                             const MakeSource& make_source) {
  AttentionGradients out;
  if (in.options.gradients == GradientsOf::kAll) {
    out.grad_q_BTSE = at::empty_like(in.q_BTSE);
    out.grad_k_BTSE = at::empty({n.S, n.E, n.B, n.T}, in.k_BTSE.options()).permute({2, 3, 0, 1});
  }
  std::optional<RowRotation<T>> rotation;
  if (in.options.rope_table.cos.defined()) {
    rotation.emplace(in.options.rope, in.options.rope_table);
  }
  const at::Tensor d_v_SGBT = at::empty({n.S, n.G, n.B, n.T}, in.v_BTSG.options());
  out.grad_v_BTSG = d_v_SGBT.permute({2, 3, 0, 1});
  for_each_task(n.B * n.S, [&] {
    return [&, backward = UnitBackward<T, decltype(make_source())>(
                   n, static_cast<T>(in.scale), outside, rotation ? &*rotation : nullptr,
                   make_source())](int64_t index) mutable {
      const int64_t b = index / n.S;
      const int64_t s = index % n.S;
      // Row 0 of the unit in a [B, T, S, width] tensor.
      const auto rows = [&](const at::Tensor& x) {
        return x.defined()
                   ? Rows<T>{x.data_ptr<T>() + b * x.stride(0) + s * x.stride(2), x.stride(1)}
                   : Rows<T>{};
      };
      const auto read = [&](const at::Tensor& x) {
        const Rows<T> found = rows(x);
        return Rows<const T>{found.data, found.stride};
      };
      backward.run({index, read(in.q_BTSE), read(in.k_BTSE), read(in.v_BTSG),
                    in.result.lse_BST.const_data_ptr<T>() + index * n.T, rows(out.grad_q_BTSE),
                    columns<T>(out.grad_k_BTSE, b, s),
                    d_v_SGBT.data_ptr<T>() + s * n.G * n.positions() + b * n.T, n.positions()});
    };
  });
  return out;
}

AttentionSizes sizes_of(const AttentionBackwardInput& in) {
  return {in.q_BTSE.size(0), in.q_BTSE.size(1), in.q_BTSE.size(2), in.q_BTSE.size(3),
          in.v_BTSG.size(3)};
}

template <typename T>
AttentionGradients kept_backward(const AttentionBackwardInput& in,
                                 const at::Tensor& grad_PK,
                                 const at::Tensor& head_PK) {
  const AttentionSizes n = sizes_of(in);
  const KeptEntries<T> entries(grad_PK, head_PK, n.B, n.S, n.G);
  AttentionGradients out =
      run_units<T>(in, n, in.options.outside, [&] { return KeptSource<T>(n, entries); });
  out.support = entries.support(n.B, n.T, n.S, n.G);
  return out;
}

template <typename T>
AttentionGradients dense_backward(const AttentionBackwardInput& in, const at::Tensor& grad_z_PH) {
  const AttentionSizes n = sizes_of(in);
  return run_units<T>(in, n, Outside::kZero, [&] { return DenseSource<T>(n, grad_z_PH); });
}

}  // namespace

AttentionGradients attention_backward_cpu(const AttentionBackwardInput& in,
                                          const at::Tensor& grad_PK,
                                          const at::Tensor& head_PK) {
  return in.q_BTSE.scalar_type() == at::kDouble ? kept_backward<double>(in, grad_PK, head_PK)
                                                : kept_backward<float>(in, grad_PK, head_PK);
}

AttentionGradients attention_backward_dense_cpu(const AttentionBackwardInput& in,
                                                const at::Tensor& grad_z_PH) {
  return in.q_BTSE.scalar_type() == at::kDouble ? dense_backward<double>(in, grad_z_PH)
                                                : dense_backward<float>(in, grad_z_PH);
}

}  // namespace lorsa::kernels
