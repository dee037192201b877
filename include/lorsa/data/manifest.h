#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace lorsa::data {

enum class StoreMode { kInputAndTarget, kInput };
enum class StoreDtype { kBFloat16, kFloat32 };

struct ShardInfo {
  std::string file;  ///< "shard-00000.h5"
  int64_t num_rows = 0;
  std::string checksum;  ///< "xxh3:..." of the file's bytes
};

/// Sums over scored tokens of one activation, from which the statistics of the manifest are made.
struct ActivationStats {
  double mean_norm = 0.0;      ///< mean of |x| over scored tokens
  double second_moment = 0.0;  ///< mean of |x|^2 over scored tokens
};

/// manifest.json of a cache, format 1 (design section 6; docs/formats.md).
struct Manifest {
  static constexpr int64_t kSchema = 1;

  std::string model_name;
  std::string architecture;
  std::string weights_sha256;
  int64_t layer = 0;
  std::string input_convention;  ///< "rms_normalized" or "layer_norm_output"
  StoreMode store = StoreMode::kInputAndTarget;
  StoreDtype dtype = StoreDtype::kBFloat16;
  int64_t context_length = 0;
  int64_t d_model = 0;
  int64_t num_rows = 0;
  int64_t num_heldout_rows = 0;
  int64_t num_tokens = 0;
  int64_t num_scored_tokens = 0;
  std::string packing;  ///< "pack" or "truncate"
  bool prepend_bos = true;
  std::vector<int64_t> unscored_ids;  ///< BOS, EOS, PAD
  ActivationStats input_stats;
  ActivationStats target_stats;
  std::vector<double> target_mean;          ///< [D], over scored training tokens
  std::vector<std::string> corpus_digests;  ///< "file-name xxh3:..."
  std::string config_yaml;  ///< the extraction's resolved configuration, for the refusal to
                            ///< continue under another one
  std::vector<ShardInfo> shards;
  bool complete = false;
};

/// Reads and checks `folder`/manifest.json. FormatError for an unknown schema, IoError if absent.
[[nodiscard]] Manifest read_manifest(const std::filesystem::path& folder);

/// Writes it atomically.
void write_manifest(const std::filesystem::path& folder, const Manifest& manifest);

/// The factor sqrt(D) / mean norm that scales an activation for training.
[[nodiscard]] double normalization_scale(const ActivationStats& stats, int64_t d_model);

}  // namespace lorsa::data
