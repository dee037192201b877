// Times the forward pass alone over all rows of a cache: what a dump's speed is held against.
//
//   lorsa-bench-dump CHECKPOINT CACHE [BATCH_ROWS]
//
// Prints tokens per second of Lorsa::reconstruct, reading the cache left out.

#include <ATen/core/Tensor.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <string>

#include "lorsa/data/cache_reader.h"
#include "lorsa/model/checkpoint.h"

namespace {

using Clock = std::chrono::steady_clock;

double forward_seconds(const lorsa::model::Dictionary& dictionary,
                       const lorsa::data::CacheReader& cache,
                       int64_t batch_rows) {
  double seconds = 0.0;
  const std::vector<int64_t>& rows = cache.rows(lorsa::data::Side::kAll);
  for (size_t begin = 0; begin < rows.size(); begin += static_cast<size_t>(batch_rows)) {
    const size_t end = std::min(rows.size(), begin + static_cast<size_t>(batch_rows));
    const lorsa::data::Batch batch = cache.read(
        {rows.begin() + static_cast<int64_t>(begin), rows.begin() + static_cast<int64_t>(end)});
    const auto start = Clock::now();
    const at::Tensor& x_BTD = dictionary.read_of(batch.input_BTD, batch.target_BTD);
    static_cast<void>(dictionary.reconstruct(x_BTD.to(at::kFloat)));
    seconds += std::chrono::duration<double>(Clock::now() - start).count();
  }
  return seconds;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3 || argc > 4) {
    std::fprintf(stderr, "usage: lorsa-bench-dump CHECKPOINT CACHE [BATCH_ROWS]\n");
    return 2;
  }
  try {
    const lorsa::model::LoadedDictionary loaded = lorsa::model::load_folded(argv[1]);
    const lorsa::data::CacheReader cache(argv[2]);
    const int64_t batch_rows = argc == 4 ? std::stoll(argv[3]) : 8;
    const double seconds = forward_seconds(loaded.dictionary, cache, batch_rows);
    std::printf("%.1f\n", static_cast<double>(cache.manifest().num_tokens) / seconds);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "lorsa-bench-dump: %s\n", error.what());
    return 1;
  }
}
