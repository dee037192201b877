#pragma once

#include <cstdint>

#include "lorsa/core/api.h"

namespace lorsa::data {

/// A seeded pseudo-random permutation of 0 .. size-1, computed and not stored: a Feistel network
/// with cycle walking (Black and Rogaway 2002). Seekable; the same on every machine.
class LORSA_API Permutation {
 public:
  Permutation(int64_t size, uint64_t seed);
  /// Where element `index` goes. index in [0, size).
  [[nodiscard]] int64_t operator()(int64_t index) const;

  [[nodiscard]] int64_t size() const { return size_; }

 private:
  int64_t size_;
  int half_bits_;
  uint64_t keys_[4];
};

/// The endless order of a training run: element `position` lies in epoch position / size, each
/// epoch its own permutation.
[[nodiscard]] LORSA_API int64_t sampled_index(int64_t position, int64_t size, uint64_t seed);

}  // namespace lorsa::data
