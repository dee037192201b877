#pragma once

#include <cstdint>

namespace lorsa::kernels {

/// Sizes of a top-k call. Row p of z starts at p * z_stride; all other arrays are dense.
struct TopKShape {
  int64_t positions = 0;  ///< P
  int64_t heads = 0;      ///< H
  int64_t k = 0;          ///< K, 1 <= K <= H
  int64_t z_stride = 0;
};

/// Sizes of a sparse decode, all arrays dense.
struct DecodeShape {
  int64_t positions = 0;  ///< P
  int64_t heads = 0;      ///< H
  int64_t k = 0;          ///< K
  int64_t width = 0;      ///< D
};

}  // namespace lorsa::kernels
