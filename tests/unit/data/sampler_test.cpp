#include "lorsa/data/sampler.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <set>
#include <vector>

#include "lorsa/core/error.h"
#include "support/test.h"

namespace lorsa::data {
namespace {

std::vector<int64_t> all_of(int64_t size, uint64_t seed) {
  const Permutation permutation(size, seed);
  std::vector<int64_t> values;
  for (int64_t i = 0; i < size; ++i) {
    values.push_back(permutation(i));
  }
  return values;
}

TEST_CASE("a permutation visits every element once, for sizes around every power of two",
          "[data]") {
  std::vector<int64_t> sizes;
  for (int64_t size = 1; size <= 70; ++size) {
    sizes.push_back(size);
  }
  for (const int64_t size : {127, 128, 129, 1023, 1024, 1025, 4095, 4096, 4097, 100'003}) {
    sizes.push_back(size);
  }
  for (const int64_t size : sizes) {
    for (const uint64_t seed : {uint64_t{0}, uint64_t{7}, ~uint64_t{0}}) {
      INFO(size << " " << seed);
      std::vector<int64_t> values = all_of(size, seed);
      std::sort(values.begin(), values.end());
      for (int64_t i = 0; i < size; ++i) {
        if (values[static_cast<size_t>(i)] != i) {
          FAIL("missing " << i);
        }
      }
    }
  }
  REQUIRE(sizes.size() == 80);
}

TEST_CASE("a permutation is the same on every machine", "[data]") {
  // From scripts/golden/sampler.py.
  REQUIRE(all_of(10, 0) == std::vector<int64_t>{5, 6, 3, 4, 2, 8, 0, 9, 7, 1});
  const Permutation thousand(1000, 123456789);
  const std::vector<int64_t> first = {759, 802, 45, 864, 819, 452};
  for (size_t i = 0; i < first.size(); ++i) {
    REQUIRE(thousand(static_cast<int64_t>(i)) == first[i]);
  }
  const Permutation huge(1'000'000'000'000, ~uint64_t{0});
  REQUIRE(huge(999'999'999'999) == 580527427752);
}

TEST_CASE("other seeds give other permutations", "[data]") {
  std::set<std::vector<int64_t>> seen;
  for (uint64_t seed = 0; seed < 50; ++seed) {
    seen.insert(all_of(100, seed));
  }
  REQUIRE(seen.size() == 50);
}

TEST_CASE("a permutation shuffles: neighbours end far apart", "[data]") {
  // |difference| of two random numbers in [0, n) is n/3 on average; its mean over n pairs has a
  // deviation of n / sqrt(18 n).
  constexpr int64_t kSize = 10'000;
  const std::vector<int64_t> values = all_of(kSize, 3);
  double sum = 0.0;
  for (size_t i = 1; i < values.size(); ++i) {
    sum += static_cast<double>(std::abs(values[i] - values[i - 1]));
  }
  const double mean = sum / (kSize - 1);
  REQUIRE(std::abs(mean - kSize / 3.0) < 5.0 * kSize / std::sqrt(18.0 * kSize));
}

TEST_CASE("sampled_index goes through all elements once an epoch, each epoch in another order",
          "[data]") {
  constexpr int64_t kSize = 37;
  std::vector<std::vector<int64_t>> epochs;
  for (int64_t epoch = 0; epoch < 4; ++epoch) {
    std::vector<int64_t> order;
    for (int64_t i = 0; i < kSize; ++i) {
      order.push_back(sampled_index(epoch * kSize + i, kSize, 11));
    }
    REQUIRE(std::set<int64_t>(order.begin(), order.end()).size() == kSize);
    REQUIRE(*std::max_element(order.begin(), order.end()) == kSize - 1);
    epochs.push_back(order);
  }
  REQUIRE(std::set<std::vector<int64_t>>(epochs.begin(), epochs.end()).size() == 4);
  REQUIRE(sampled_index(5, kSize, 11) == epochs[0][5]);
}

TEST_CASE("sizes and positions out of range are refused", "[data]") {
  REQUIRE_THROWS_AS(Permutation(0, 1), ConfigError);
  REQUIRE_THROWS_AS(Permutation(5, 1)(5), ConfigError);
  REQUIRE_THROWS_AS(Permutation(5, 1)(-1), ConfigError);
  REQUIRE_THROWS_AS(sampled_index(-1, 5, 0), ConfigError);
  REQUIRE_THROWS_AS(sampled_index(0, 0, 0), ConfigError);
}

}  // namespace
}  // namespace lorsa::data
