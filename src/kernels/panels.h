#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "kernels/cpu/transpose.h"

namespace lorsa::kernels {

/// Keys of a panel: four vectors of AVX-512, which oneDNN's kernel keeps in registers.
constexpr int64_t kPanelKeys = 64;
/// Rows that lie a power of two apart fall on few lines of the caches: strides get this much more.
constexpr int64_t kStridePadding = 16;

/// Rows [T, width] of a tensor, `stride` elements apart.
template <typename T>
struct Rows {
  T* data = nullptr;
  int64_t stride = 0;

  [[nodiscard]] T* operator[](int64_t row) const { return data + row * stride; }
};

[[nodiscard]] inline int64_t num_panels(int64_t keys) {
  return (keys + kPanelKeys - 1) / kPanelKeys;
}

/// A [T, width] matrix transposed in panels of kPanelKeys rows: panel j is a dense
/// [width, columns(j)], the right operand of a product with the rows j * kPanelKeys on.
template <typename T>
class TransposedPanels {
 public:
  TransposedPanels(int64_t rows, int64_t width)
      : rows_(rows), width_(width), data_(static_cast<size_t>(rows * width)) {}

  void fill(const Rows<const T>& from) {
    for (int64_t j = 0; j < num_panels(rows_); ++j) {
      cpu::transpose(from[j * kPanelKeys], from.stride, columns(j), width_, start(j), columns(j));
    }
  }

  [[nodiscard]] int64_t columns(int64_t j) const {
    return std::min(kPanelKeys, rows_ - j * kPanelKeys);
  }

  [[nodiscard]] const T* operator[](int64_t j) const {
    return data_.data() + j * kPanelKeys * width_;
  }

 private:
  [[nodiscard]] T* start(int64_t j) { return data_.data() + j * kPanelKeys * width_; }

  int64_t rows_, width_;
  std::vector<T> data_;
};

/// Rows of a strided matrix behind one another: where they lie, or copied to `room`.
template <typename T>
[[nodiscard]] const T* together(const Rows<const T>& from, int64_t rows, int64_t width, T* room) {
  if (from.stride == width) {
    return from.data;
  }
  T* to = room;
  for (int64_t r = 0; r < rows; ++r) {
    to = std::copy_n(from[r], width, to);
  }
  return room;
}

}  // namespace lorsa::kernels
