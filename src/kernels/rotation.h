#pragma once

#include <ATen/core/Tensor.h>

#include <algorithm>
#include <cstdint>

#include "kernels/cpu/rope_rows.h"
#include "lorsa/kernels/rope.h"

// RoPE for CPU passes that rotate a head's rows while they are in the caches.

namespace lorsa::kernels {

/// Turns rows of one head by their positions in a sequence.
template <typename T>
class RowRotation {
 public:
  /// `table` as rope_table() gives it, in T.
  RowRotation(const RopeSpec& spec, const RopeTable& table)
      : half_(spec.rotary_dim / 2),
        adjacent_(spec.layout == RopeLayout::kAdjacentPairs),
        cos_(table.cos.contiguous()),
        sin_(table.sin.contiguous()),
        cos_by_pair_(table.cos.t().contiguous()),
        sin_by_pair_(table.sin.t().contiguous()) {}

  /// Rows at positions t on, `stride` apart, in place.
  void rotate(T* x, int64_t t, int64_t positions, int64_t stride, RopeDirection direction) const {
    const T sign = direction == RopeDirection::kForward ? T(1) : T(-1);
    const T* cos = cos_.const_data_ptr<T>() + t * half_;
    const T* sin = sin_.const_data_ptr<T>() + t * half_;
    const cpu::RotatedRows rows{.positions = positions, .position_stride = stride};
    if (adjacent_) {
      cpu::rotate_adjacent(x, rows, cos, sin, half_, sign);
    } else {
      cpu::rotate_half_split(x, rows, cos, sin, half_, sign);
    }
  }

  /// A whole head [width, T] turned back, dimension by dimension: from and to have rows their
  /// strides apart.
  void unrotate_columns(const T* from,
                        int64_t from_stride,
                        int64_t width,
                        int64_t positions,
                        T* to,
                        int64_t to_stride) const {
    const int64_t table_stride = cos_.size(0);
    for (int64_t i = 0; i < half_; ++i) {
      const int64_t low = adjacent_ ? 2 * i : i;
      const int64_t high = adjacent_ ? 2 * i + 1 : i + half_;
      cpu::unrotate_pair(from + low * from_stride, from + high * from_stride,
                         cos_by_pair_.const_data_ptr<T>() + i * table_stride,
                         sin_by_pair_.const_data_ptr<T>() + i * table_stride, positions,
                         to + low * to_stride, to + high * to_stride);
    }
    for (int64_t i = 2 * half_; i < width; ++i) {
      std::copy_n(from + i * from_stride, positions, to + i * to_stride);
    }
  }

 private:
  int64_t half_;
  bool adjacent_;
  at::Tensor cos_, sin_;                  // [T, half]
  at::Tensor cos_by_pair_, sin_by_pair_;  // [half, T]
};

}  // namespace lorsa::kernels
