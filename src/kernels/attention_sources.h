#pragma once

#include <ATen/core/Tensor.h>

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "kernels/block_product.h"
#include "kernels/cpu/attention_rows.h"
#include "kernels/cpu/transpose.h"
#include "kernels/kept_entries.h"
#include "kernels/panels.h"

// Where attention_backward.cpp gets d loss / d weights from, and with it dV. A source is asked
// begin(unit), then in turn next(positions), the query rows of a block (none: the unit is done),
// and take(unit, block, ...). A thread owns one.

namespace lorsa::kernels {

/// Query rows of a block: fewer touch fewer masked keys; oneDNN's kernel is as fast with 32 rows as
/// with 128.
constexpr int64_t kBackwardRows = 32;

struct AttentionSizes {
  int64_t B, T, S, E, G;

  [[nodiscard]] int64_t positions() const { return B * T; }

  /// Of a row of scores.
  [[nodiscard]] int64_t stride() const { return num_panels(T) * kPanelKeys + kStridePadding; }
};

/// One sequence and QK head.
template <typename T>
struct AttentionUnit {
  int64_t index;  // b * S + s
  Rows<const T> q, k, v;
  const T* lse_T;
  Rows<T> d_q;  // [T, E], without data where it is not wanted
  Rows<T> d_k;  // [E, T], likewise
  T* d_v;       // [G, T], rows d_v_stride apart
  int64_t d_v_stride;
};

/// The rows of a block: weights [rows, keys] with w_tj = 0 for j > t, padded with rows of zeros.
template <typename T>
struct BackwardBlock {
  std::span<const int64_t> positions;
  int64_t padded_rows;
  int64_t panels;
  int64_t keys;
  int64_t stride;
  const T* weights;
};

/// d loss / d weights from the kept entries alone: one costs a row of V^T and one of dV^T.
template <typename T>
class KeptSource {
 public:
  KeptSource(const AttentionSizes& n, const KeptEntries<T>& entries)
      : n_(n), all_(entries), v_GT_(static_cast<size_t>(n.G * n.T)) {}

  void begin(const AttentionUnit<T>& unit) {
    rest_ = all_.of(unit.index);
    if (!rest_.empty()) {
      cpu::transpose(unit.v.data, unit.v.stride, n_.T, n_.G, v_GT_.data(), n_.T);
    }
    acts_.assign(static_cast<size_t>(n_.G), false);
    for (const KeptEntry<T>& entry : rest_) {
      acts_[static_cast<size_t>(entry.member)] = true;
    }
  }

  /// Whether member g has a gradient in the unit.
  [[nodiscard]] bool acts(int64_t g) const { return acts_[static_cast<size_t>(g)]; }

  /// The next up to kBackwardRows positions that have entries.
  void next(std::vector<int64_t>& positions) {
    size_t end = 0;
    for (; end < rest_.size(); ++end) {
      const int64_t position = rest_[end].position;
      if (positions.empty() || positions.back() != position) {
        if (std::ssize(positions) == kBackwardRows) {
          break;
        }
        positions.push_back(position);
      }
    }
    block_ = rest_.first(end);
    rest_ = rest_.subspan(end);
  }

  /// Adds to dV; fills d_weights (rows block.stride apart) unless it is null.
  void take(const AttentionUnit<T>& unit, const BackwardBlock<T>& block, T* d_weights) {
    size_t entry = 0;
    const T* weights = block.weights;
    for (size_t i = 0; i < block.positions.size(); ++i, weights += block.stride) {
      const int64_t t = block.positions[i];
      // Whole vectors: weights past t are 0, and with them the gradients of their scores.
      const int64_t live = std::min((t + kVector) / kVector * kVector, block.keys);
      T* row = d_weights == nullptr ? nullptr : d_weights + static_cast<int64_t>(i) * block.stride;
      if (row != nullptr) {
        std::fill_n(row, block.keys, T(0));
      }
      for (; entry < block_.size() && block_[entry].position == t; ++entry) {
        const KeptEntry<T>& e = block_[entry];
        cpu::axpy(unit.d_v + e.member * unit.d_v_stride, weights, e.gradient, live);
        if (row != nullptr) {
          cpu::axpy(row, v_GT_.data() + e.member * n_.T, e.gradient, live);
        }
      }
    }
  }

 private:
  static constexpr int64_t kVector = 16;

  AttentionSizes n_;
  const KeptEntries<T>& all_;
  std::span<const KeptEntry<T>> rest_, block_;
  std::vector<T> v_GT_;
  std::vector<bool> acts_;
};

/// d loss / d weights = dZ V^T by products; rows of dZ that are all zero are left out.
template <typename T>
class DenseSource {
 public:
  DenseSource(const AttentionSizes& n, const at::Tensor& grad_z_PH)
      : n_(n),
        grad_z_(grad_z_PH.const_data_ptr<T>()),
        v_panels_(n.T, n.G),
        rows_(static_cast<size_t>(kBackwardRows * n.G)),
        rows_GR_(static_cast<size_t>(kBackwardRows * n.G)) {}

  void begin(const AttentionUnit<T>& unit) {
    const int64_t b = unit.index / n_.S;
    const int64_t s = unit.index % n_.S;
    d_z_ = {grad_z_ + (b * n_.T * n_.S + s) * n_.G, n_.S * n_.G};
    live_.clear();
    for (int64_t t = 0; t < n_.T; ++t) {
      if (std::any_of(d_z_[t], d_z_[t] + n_.G, [](T x) { return x != T(0); })) {
        live_.push_back(t);
      }
    }
    next_ = 0;
    if (!live_.empty()) {
      v_panels_.fill(unit.v);
    }
  }

  [[nodiscard]] bool acts(int64_t) const { return true; }

  void next(std::vector<int64_t>& positions) {
    const size_t end = std::min(live_.size(), next_ + static_cast<size_t>(kBackwardRows));
    positions.assign(live_.begin() + static_cast<int64_t>(next_),
                     live_.begin() + static_cast<int64_t>(end));
    next_ = end;
  }

  void take(const AttentionUnit<T>& unit, const BackwardBlock<T>& block, T* d_weights) {
    const int64_t rows = block.padded_rows;
    std::fill_n(rows_.data(), rows * n_.G, T(0));
    for (size_t i = 0; i < block.positions.size(); ++i) {
      std::copy_n(d_z_[block.positions[i]], n_.G, rows_.data() + static_cast<int64_t>(i) * n_.G);
    }
    cpu::transpose(rows_.data(), n_.G, rows, n_.G, rows_GR_.data(), rows);
    for (int64_t j = 0; j < block.panels; ++j) {
      const int64_t columns = v_panels_.columns(j);
      const int64_t first = j * kPanelKeys;
      if (d_weights != nullptr) {
        block_product({rows, columns, n_.G, n_.G, columns, block.stride}, Sum::kReplace,
                      rows_.data(), v_panels_[j], d_weights + first);
      }
      block_product({n_.G, columns, rows, rows, block.stride, unit.d_v_stride}, Sum::kAdd,
                    rows_GR_.data(), block.weights + first, unit.d_v + first);
    }
  }

 private:
  AttentionSizes n_;
  const T* grad_z_;
  Rows<const T> d_z_;
  std::vector<int64_t> live_;
  size_t next_ = 0;
  TransposedPanels<T> v_panels_;
  std::vector<T> rows_, rows_GR_;
};

}  // namespace lorsa::kernels
