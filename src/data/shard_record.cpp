#include "data/shard_record.h"

#include <algorithm>

#include "data/manifest_json.h"
#include "data/shard_format.h"
#include "lorsa/core/error.h"
#include "lorsa/io/json.h"

namespace lorsa::data {
namespace {

using io::Json;
using io::member;

constexpr std::string_view kRecordSuffix = ".done";
constexpr std::string_view kShardSuffix = ".h5";

StatisticsSums read_sums(const Json& json, int64_t d_model, const std::string& where) {
  StatisticsSums sums;
  sums.num_tokens = count(json, "num_tokens", where, 0);
  sums.input_norm = member<double>(json, "input_norm", where);
  sums.input_square = member<double>(json, "input_square", where);
  sums.target_norm = member<double>(json, "target_norm", where);
  sums.target_square = member<double>(json, "target_square", where);
  const Json target = member<Json>(json, "target", where);
  LORSA_CHECK(target.is_array() && static_cast<int64_t>(target.size()) == d_model, FormatError,
              "{}: target: expected d_model = {} numbers, found {}", where, d_model,
              target.is_array() ? formatted("{}", target.size()) : std::string(target.type_name()));
  for (const Json& value : target) {
    sums.target.push_back(member<double>(Json{{"target", value}}, "target", where));
  }
  return sums;
}

}  // namespace

std::string record_file_name(int64_t shard) {
  const std::string file = shard_file_name(static_cast<size_t>(shard));
  return file.substr(0, file.size() - kShardSuffix.size()) + std::string(kRecordSuffix);
}

std::optional<int64_t> record_index(const std::string& file_name) {
  if (!file_name.ends_with(kRecordSuffix)) {
    return std::nullopt;
  }
  return shard_index(file_name.substr(0, file_name.size() - kRecordSuffix.size()) +
                     std::string(kShardSuffix));
}

void write_shard_record(const std::filesystem::path& folder, const ShardRecord& record) {
  const int64_t shard = shard_index(record.info.file).value();
  io::write_sealed_json(folder / record_file_name(shard),
                        Json{{"file", record.info.file},
                             {"num_rows", record.info.num_rows},
                             {"num_heldout_rows", record.num_heldout_rows},
                             {"num_scored_tokens", record.num_scored_tokens},
                             {"checksum", record.info.checksum},
                             {"sums",
                              {{"num_tokens", record.sums.num_tokens},
                               {"input_norm", record.sums.input_norm},
                               {"input_square", record.sums.input_square},
                               {"target_norm", record.sums.target_norm},
                               {"target_square", record.sums.target_square},
                               {"target", record.sums.target}}}});
}

ShardRecord read_shard_record(const std::filesystem::path& folder, int64_t shard, int64_t d_model) {
  const std::filesystem::path path = folder / record_file_name(shard);
  const std::string where = path.string();
  const Json json = io::read_sealed_json(path);
  ShardRecord record;
  record.info = {member<std::string>(json, "file", where), count(json, "num_rows", where, 1),
                 member<std::string>(json, "checksum", where)};
  const std::string expected = shard_file_name(static_cast<size_t>(shard));
  LORSA_CHECK(record.info.file == expected, FormatError, "{}: file: expected {}, found {}", where,
              expected, record.info.file);
  record.num_heldout_rows = count(json, "num_heldout_rows", where, 0);
  record.num_scored_tokens = count(json, "num_scored_tokens", where, 0);
  record.sums = read_sums(member<Json>(json, "sums", where), d_model, where + ": sums");
  return record;
}

std::vector<ShardRecord> read_shard_records(const std::filesystem::path& folder, int64_t d_model) {
  std::vector<int64_t> shards;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (const auto shard = record_index(entry.path().filename().string())) {
      shards.push_back(*shard);
    }
  }
  std::sort(shards.begin(), shards.end());
  std::vector<ShardRecord> records;
  for (const int64_t shard : shards) {
    records.push_back(read_shard_record(folder, shard, d_model));
  }
  return records;
}

void add_sums(StatisticsSums& sums, const StatisticsSums& other) {
  sums.num_tokens += other.num_tokens;
  sums.input_norm += other.input_norm;
  sums.input_square += other.input_square;
  sums.target_norm += other.target_norm;
  sums.target_square += other.target_square;
  sums.target.resize(std::max(sums.target.size(), other.target.size()), 0.0);
  for (size_t d = 0; d < other.target.size(); ++d) {
    sums.target[d] += other.target[d];
  }
}

void set_totals(Manifest& manifest, const std::vector<ShardRecord>& records) {
  manifest.shards.clear();
  manifest.num_rows = 0;
  manifest.num_heldout_rows = 0;
  manifest.num_scored_tokens = 0;
  StatisticsSums sums;
  sums.target.assign(static_cast<size_t>(manifest.d_model), 0.0);
  for (const ShardRecord& record : records) {
    manifest.shards.push_back(record.info);
    manifest.num_rows += record.info.num_rows;
    manifest.num_heldout_rows += record.num_heldout_rows;
    manifest.num_scored_tokens += record.num_scored_tokens;
    add_sums(sums, record.sums);
  }
  manifest.num_tokens = manifest.num_rows * manifest.context_length;
  const double scale = sums.num_tokens > 0 ? 1.0 / static_cast<double>(sums.num_tokens) : 0.0;
  manifest.num_statistics_tokens = sums.num_tokens;
  manifest.input_stats = {sums.input_norm * scale, sums.input_square * scale};
  manifest.target_stats = {sums.target_norm * scale, sums.target_square * scale};
  manifest.target_mean = sums.target;
  for (double& mean : manifest.target_mean) {
    mean *= scale;
  }
}

}  // namespace lorsa::data
