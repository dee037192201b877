#include "lorsa/core/seed.h"

#include <bitset>
#include <set>

#include "support/test.h"

TEST_CASE("mix64 gives the published outputs of SplitMix64", "[core]") {
  // Seeds 0 and 1234567, as in the reference implementation by Vigna and on Rosetta Code; the
  // generator's state grows by the golden gamma each step.
  constexpr uint64_t kGamma = 0x9e3779b97f4a7c15ULL;
  CHECK(lorsa::mix64(0) == 0xe220a8397b1dcdafULL);
  CHECK(lorsa::mix64(kGamma) == 0x6e789e6aa1b965f4ULL);
  CHECK(lorsa::mix64(2 * kGamma) == 0x06c45d188009454fULL);
  CHECK(lorsa::mix64(1234567) == 6457827717110365317ULL);
  CHECK(lorsa::mix64(1234567 + kGamma) == 3203168211198807973ULL);
}

TEST_CASE("streams of one seed and seeds of one stream differ", "[core]") {
  std::set<uint64_t> seeds;
  for (uint64_t seed = 0; seed < 100; ++seed) {
    for (const char* stream : {"", "a", "b", "ab", "ba", "init", "sampler"}) {
      seeds.insert(lorsa::stream_seed(seed, stream));
    }
  }
  CHECK(seeds.size() == 700);
  CHECK(lorsa::stream_seed(7, "init") == lorsa::stream_seed(7, "init"));
}

TEST_CASE("neighbouring seeds differ in about half of the bits", "[core]") {
  size_t bits = 0;
  for (uint64_t seed = 0; seed < 1000; ++seed) {
    bits +=
        std::bitset<64>(lorsa::stream_seed(seed, "x") ^ lorsa::stream_seed(seed + 1, "x")).count();
  }
  // 1000 times 64 fair bits: mean 32,000, standard deviation 126.
  CHECK(bits > 31'000);
  CHECK(bits < 33'000);
}
