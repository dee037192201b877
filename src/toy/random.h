#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "lorsa/core/seed.h"

namespace lorsa::toy {

/// A stream of random numbers that is the same on every machine: SplitMix64 from a seed.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}

  /// Uniform in [0, 1).
  double share() { return static_cast<double>(next() >> 11) * 0x1.0p-53; }

  /// Uniform in [0, bound). The bias of the product is below bound / 2^53.
  int64_t below(int64_t bound) {
    return static_cast<int64_t>(share() * static_cast<double>(bound));
  }

  /// `count` different numbers of [first, last), in random order.
  std::vector<int64_t> distinct(int64_t count, int64_t first, int64_t last) {
    std::vector<int64_t> all;
    for (int64_t i = first; i < last; ++i) {
      all.push_back(i);
    }
    for (int64_t i = 0; i < count; ++i) {
      const int64_t other = i + below(static_cast<int64_t>(all.size()) - i);
      std::swap(all[static_cast<size_t>(i)], all[static_cast<size_t>(other)]);
    }
    all.resize(static_cast<size_t>(count));
    return all;
  }

 private:
  uint64_t next() {
    state_ += 0x9E3779B97F4A7C15ULL;
    return mix64(state_);
  }

  uint64_t state_;
};

}  // namespace lorsa::toy
