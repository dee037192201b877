#pragma once

#include <algorithm>
#include <cstring>
#include <numeric>
#include <vector>

#include "cuda_runtime.h"

namespace cub {

struct DeviceRadixSort {
  /// Stable. Like CUB's it asks for scratch first, and leaves nothing of use in it.
  template <typename Key, typename Value>
  static cudaError_t SortPairs(void* scratch,
                               size_t& bytes,
                               const Key* key_in,
                               Key* key_out,
                               const Value* value_in,
                               Value* value_out,
                               int count,
                               int begin_bit = 0,
                               int end_bit = static_cast<int>(sizeof(Key)) * 8,
                               cudaStream_t = nullptr) {
    const auto n = static_cast<size_t>(std::max(count, 0));
    const size_t needed = n * (sizeof(Key) + sizeof(Value)) + 1000;
    if (scratch == nullptr) {
      bytes = needed;
      return cudaSuccess;
    }
    if (bytes < needed || count < 0 || begin_bit < 0 || begin_bit >= end_bit ||
        end_bit > static_cast<int>(sizeof(Key)) * 8) {
      return cudaErrorInvalidValue;
    }
    std::memset(scratch, 0xee, needed);
    std::vector<size_t> order(n);
    std::iota(order.begin(), order.end(), size_t{0});
    const auto digits = [&](size_t i) {
      const uint64_t all = ~uint64_t{0} >> (64 - (end_bit - begin_bit));
      return static_cast<uint64_t>(key_in[i]) >> begin_bit & all;
    };
    std::stable_sort(order.begin(), order.end(),
                     [&](size_t a, size_t b) { return digits(a) < digits(b); });
    for (size_t i = 0; i < n; ++i) {
      key_out[i] = key_in[order[i]];
      value_out[i] = value_in[order[i]];
    }
    return cudaSuccess;
  }
};

}  // namespace cub
