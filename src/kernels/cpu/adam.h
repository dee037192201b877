#pragma once

#include <cstdint>

#include "lorsa/kernels/types.h"

namespace lorsa::kernels::cpu {

/// Work is handed out in blocks of this many elements, so that an element's place in a vector, and
/// with it its last bit, does not depend on the number of threads. 16 KiB of float: four arrays of
/// a block fit the first-level cache.
constexpr int64_t kBlock = 4096;

template <typename T>
struct AdamArrays {
  T* parameter = nullptr;
  const T* gradient = nullptr;
  T* first_moment = nullptr;
  T* second_moment = nullptr;
  uint16_t* bfloat16_copy = nullptr;  ///< or null
  int64_t size = 0;
};

/// Steps the blocks [begin, end) of kBlock elements (the last may be shorter).
void adam_blocks(const AdamArrays<float>& arrays,
                 const AdamHyper& hyper,
                 int64_t begin,
                 int64_t end);
void adam_blocks(const AdamArrays<double>& arrays,
                 const AdamHyper& hyper,
                 int64_t begin,
                 int64_t end);

/// Sum of squares of each of the blocks [begin, end) of kBlock elements of x, into sums.
void squared_norm_blocks(const float* x, int64_t size, int64_t begin, int64_t end, double* sums);
void squared_norm_blocks(const double* x, int64_t size, int64_t begin, int64_t end, double* sums);

}  // namespace lorsa::kernels::cpu
