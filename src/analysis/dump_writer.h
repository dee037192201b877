#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "analysis/head_record.h"
#include "analysis/index_columns.h"
#include "lorsa/io/json.h"

namespace lorsa::analysis {

/// Heads of one file: what the explorer loads for one head stays near a megabyte.
inline constexpr int64_t kHeadsPerShard = 128;

/// Writes a dump's files, for people's programs and for the explorer, shard by shard.
class DumpWriter {
 public:
  /// `texts` is borrowed.
  DumpWriter(std::filesystem::path folder, TokenTexts& texts);

  /// Writes the heads of the next shard: heads-NNNNN.jsonl and explorer/data/heads-NNNNN.js.
  void write_shard(const std::vector<HeadRecord>& records);

  /// Writes index.json, explorer/data/index.js and the page. `summary` is what the index says
  /// beside shards and heads.
  void finish(io::Json summary);

 private:
  std::filesystem::path folder_;
  TokenTexts& texts_;
  io::Json shards_ = io::Json::array();
  io::Json heads_ = io::Json::array();
  IndexColumns columns_;
};

}  // namespace lorsa::analysis
