#pragma once

#include <ATen/ATen.h>

#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include "lorsa/collect/extract.h"
#include "lorsa/data/cache_reader.h"
#include "support/test.h"

namespace lorsa::collect {

/// The extraction that scripts/golden/collect.py describes, into `out`: 77 rows of 16 tokens,
/// float32, layers 0 and 2.
inline ExtractConfig golden_config(const std::filesystem::path& out) {
  ExtractConfig config;
  config.model.path = test::golden("collect/model").string();
  config.layers = {0, 2};
  config.data.files = {test::golden("collect/corpus.jsonl").string()};
  config.data.context_length = 16;
  config.data.holdout_fraction = 0.2;
  config.out.path = out.string();
  config.out.dtype = data::StoreDtype::kFloat32;
  config.run.device = "cpu";
  config.run.batch_sequences = 4;
  return config;
}

constexpr int64_t kGoldenRows = 77;
constexpr int64_t kGoldenHeldoutRows = 15;

inline ExtractOptions silent() {
  return {Progress::Visible::kNo, {}, {}};
}

inline data::Batch all_rows(const std::filesystem::path& folder) {
  const data::CacheReader reader(folder);
  return reader.read(reader.rows(data::Side::kAll));
}

/// Size of shards that hold `batches` batches of golden_config().
inline int64_t shard_bytes_for(int64_t batches) {
  const int64_t per_row = 16 * (2 * 24 * 4 + 5) + 33;
  return batches * 4 * per_row;
}

inline std::vector<std::string> names_in(const std::filesystem::path& folder) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    names.push_back(entry.path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

template <typename ErrorType, typename Call>
std::string message_of(const Call& call) {
  try {
    call();
  } catch (const ErrorType& error) {
    return error.what();
  }
  return "nothing of the expected kind was thrown";
}

}  // namespace lorsa::collect
