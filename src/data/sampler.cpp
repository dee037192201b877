#include "lorsa/data/sampler.h"

#include "lorsa/core/error.h"
#include "lorsa/core/seed.h"

namespace lorsa::data {
Permutation::Permutation(int64_t size, uint64_t seed) : size_(size), half_bits_(1), keys_{} {
  LORSA_CHECK(size > 0, ConfigError, "a permutation: expected a size of 1 or more, found {}", size);
  // The smallest even number of bits that holds size - 1: fewer than 4 walks a call on average.
  while (half_bits_ < 31 && (uint64_t{1} << (2 * half_bits_)) < static_cast<uint64_t>(size)) {
    ++half_bits_;
  }
  LORSA_CHECK((uint64_t{1} << (2 * half_bits_)) >= static_cast<uint64_t>(size), ConfigError,
              "a permutation: expected a size up to 2^62, found {}", size);
  uint64_t key = seed;
  for (uint64_t& round_key : keys_) {
    key = mix64(key + 0x9E3779B97F4A7C15U);
    round_key = key;
  }
}

int64_t Permutation::operator()(int64_t index) const {
  LORSA_CHECK(index >= 0 && index < size_, ConfigError,
              "a permutation: expected an index in [0, {}), found {}", size_, index);
  const uint64_t mask = (uint64_t{1} << half_bits_) - 1;
  auto value = static_cast<uint64_t>(index);
  // Four rounds: then the order cannot be told from a random one (Luby and Rackoff 1988).
  // The network permutes 2^(2 half_bits) values; walking its cycle until it is back below size
  // permutes those below size.
  do {
    uint64_t left = value >> half_bits_;
    uint64_t right = value & mask;
    for (const uint64_t key : keys_) {
      const uint64_t next = left ^ (mix64(right ^ key) & mask);
      left = right;
      right = next;
    }
    value = (left << half_bits_) | right;
  } while (value >= static_cast<uint64_t>(size_));
  return static_cast<int64_t>(value);
}

int64_t sampled_index(int64_t position, int64_t size, uint64_t seed) {
  LORSA_CHECK(position >= 0 && size > 0, ConfigError,
              "order of sampling: expected position >= 0, size >= 1, found {}, {}", position, size);
  const auto epoch = static_cast<uint64_t>(position / size);
  const Permutation permutation(size, mix64(stream_seed(seed, "sampling order") ^ mix64(epoch)));
  return permutation(position % size);
}

}  // namespace lorsa::data
