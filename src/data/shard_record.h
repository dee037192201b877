#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "lorsa/data/manifest.h"

namespace lorsa::data {

/// Sums over the scored tokens of training rows, from which a cache's statistics are made. Each
/// shard has its own and they are added in the shards' order, so that the statistics do not depend
/// on who wrote which shard, or when.
struct StatisticsSums {
  int64_t num_tokens = 0;
  double input_norm = 0.0;
  double input_square = 0.0;
  double target_norm = 0.0;
  double target_square = 0.0;
  std::vector<double> target;  ///< [D]

  bool operator==(const StatisticsSums&) const = default;
};

/// What a finished shard contributes to the manifest. It stands beside the shard as
/// `shard-00000.done` until the cache is complete; a shard without one is not finished.
struct ShardRecord {
  ShardInfo info;
  int64_t num_heldout_rows = 0;
  int64_t num_scored_tokens = 0;
  StatisticsSums sums;
};

/// "shard-00007.done"
[[nodiscard]] std::string record_file_name(int64_t shard);

/// The shard of a name that record_file_name() makes; nothing for other names.
[[nodiscard]] std::optional<int64_t> record_index(const std::string& file_name);

/// Writes it atomically.
void write_shard_record(const std::filesystem::path& folder, const ShardRecord& record);

/// Throws FormatError (file, key, expected, found), IoError if absent.
[[nodiscard]] ShardRecord read_shard_record(const std::filesystem::path& folder,
                                            int64_t shard,
                                            int64_t d_model);

/// All records in the folder, in the order of the shards.
[[nodiscard]] std::vector<ShardRecord> read_shard_records(const std::filesystem::path& folder,
                                                          int64_t d_model);

/// sums += other
void add_sums(StatisticsSums& sums, const StatisticsSums& other);

/// Fills in rows, counts, statistics and shards of a complete cache.
void set_totals(Manifest& manifest, const std::vector<ShardRecord>& records);

}  // namespace lorsa::data
