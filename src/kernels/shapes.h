#pragma once

#include <cstdint>

namespace lorsa::kernels {

/// Limits of the top-k kernel for CUDA: a row's keys live in the registers of one block, its kept
/// heads in shared memory. Past them all scores are sorted.
constexpr int64_t kTopKMaxHeads = 65536;
constexpr int64_t kTopKMaxK = 1024;

/// Entries of a part of the decode's sorted list, which one block adds.
constexpr int64_t kDecodePart = 1024;

/// Most kept rows of W_O that the decode's loss on CUDA holds at hand for the values' gradient; of
/// more it gathers each a second time.
constexpr int64_t kDecodeStagedRows = 256;

/// Whether LibTorch's fused attention on CUDA takes these widths of queries and values: rows of 16
/// bytes. It keeps no scores.
constexpr bool fits_fused_attention(int64_t d_qk, int64_t group, int64_t value_bytes) {
  return d_qk * value_bytes % 16 == 0 && group * value_bytes % 16 == 0;
}

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

/// What the product of gathered rows on CUDA takes: widths that are multiples of this.
constexpr int64_t kGatheredStep = 16;

/// Whether W_Q's gradient of a device is summed over gathered rows, for K kept heads of S QK heads
/// of width E: at most K / S of a head's rows have a gradient on average. An estimate, not measured
/// on a device: on Hopper cuBLAS's dense product reaches about 0.75 of the peak, the gathered one,
/// whose instructions could reach 0.6 of it, about 0.45. They are even at K / S = 0.6, less what
/// the lists and their unequal lengths cost.
constexpr bool gathers_query_rows(int64_t k, int64_t num_qk_heads, int64_t head_width) {
  return 2 * k <= num_qk_heads && head_width % kGatheredStep == 0;
}

}  // namespace lorsa::kernels
