#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "lorsa/core/api.h"
#include "lorsa/core/site.h"
#include "lorsa/kernels/rope.h"

namespace lorsa::data {

enum class StoreMode { kInputAndTarget, kInput };
/// kInt8: every position of input and target has a float32 scale of its own (largest |x| / 127).
enum class StoreDtype { kBFloat16, kFloat32, kInt8 };

/// The words for them in configurations and manifests.
[[nodiscard]] LORSA_API const std::vector<std::pair<std::string, StoreMode>>& store_words();
[[nodiscard]] LORSA_API const std::vector<std::pair<std::string, StoreDtype>>& dtype_words();

/// The word for it in configurations and manifests: "input_and_target", "input".
[[nodiscard]] LORSA_API std::string to_string(StoreMode store);
/// "bfloat16", "float32", "int8".
[[nodiscard]] LORSA_API std::string to_string(StoreDtype dtype);

struct ShardInfo {
  std::string file;  ///< "shard-00000.h5"
  int64_t num_rows = 0;
  std::string checksum;  ///< "xxh3:..." of the file's bytes outside the datasets of rows (of all
                         ///< bytes in format 1)
};

/// The number in the shard's file name.
[[nodiscard]] LORSA_API int64_t shard_number(const ShardInfo& shard);

/// Statistics of one activation over the scored tokens of training rows.
struct ActivationStats {
  double mean_norm = 0.0;      ///< mean of |x| over scored tokens
  double second_moment = 0.0;  ///< mean of |x|^2 over scored tokens
};

/// What attention.safetensors does not hold of the layer's attention, and its digest.
struct AttentionInfo {
  std::string checksum;  ///< "xxh3:..." of attention.safetensors
  double attn_scale = 1.0;
  double qk_norm_eps = 1e-6;
  kernels::RopeSpec rope;

  bool operator==(const AttentionInfo&) const = default;
};

/// manifest.json of a cache, format 3 (docs/formats.md). While the cache is not complete, counts
/// and shards are those of the shards finished so far, whatever their numbers.
struct Manifest {
  static constexpr int64_t kSchema = 3;        ///< what is written
  static constexpr int64_t kOldestSchema = 1;  ///< complete caches of it are still read

  int64_t schema = kSchema;
  std::string model_name;
  std::string architecture;
  std::string weights_sha256;
  Site site;                     ///< formats 1 and 2 hold attention alone
  std::string input_convention;  ///< "rms_normalized" or "layer_norm_output"
  StoreMode store = StoreMode::kInputAndTarget;
  StoreDtype dtype = StoreDtype::kBFloat16;
  int64_t context_length = 0;
  int64_t d_model = 0;
  int64_t num_rows = 0;
  int64_t num_heldout_rows = 0;
  int64_t num_tokens = 0;
  int64_t num_scored_tokens = 0;
  int64_t rows_per_shard = 0;         ///< of all shards but the last; set by CacheWriter
  int64_t num_statistics_tokens = 0;  ///< scored tokens of training rows: what statistics are over
  std::string packing;                ///< "pack" or "truncate"
  bool prepend_bos = true;
  std::vector<int64_t> unscored_ids;  ///< BOS, EOS, PAD and other ends of a text
  /// What the rows begin with if prepend_bos, and what stands between documents; none also in
  /// caches made before these were recorded.
  std::optional<int64_t> bos_id;
  std::optional<int64_t> separator_id;
  /// What Packer does with special tokens that documents bring: "left_out", or "kept" in caches
  /// made before it looked for them.
  std::string own_special_tokens = "left_out";
  std::optional<AttentionInfo> attention;  ///< set by CacheWriter; nothing for an MLP
  ActivationStats input_stats;
  ActivationStats target_stats;
  std::vector<double> target_mean;          ///< [D], over scored training tokens
  std::vector<std::string> corpus_digests;  ///< "file-name xxh3:..."
  std::string config_yaml;  ///< the extraction's resolved configuration, for the refusal to
                            ///< continue under another one
  std::vector<ShardInfo> shards;
  bool complete = false;
};

/// Reads and checks `folder`/manifest.json and, where the cache is not complete, what the finished
/// shards left beside it. FormatError (file, key, expected, found) for an unknown schema, a damaged
/// file or values that contradict each other, IoError if absent.
[[nodiscard]] LORSA_API Manifest read_manifest(const std::filesystem::path& folder);

/// Writes it atomically, in format 3. Shards and counts of an unfinished cache are not written:
/// they stand beside it.
LORSA_API void write_manifest(const std::filesystem::path& folder, const Manifest& manifest);

/// The factor sqrt(D) / mean norm that scales an activation for training. FormatError if the mean
/// norm is not positive.
[[nodiscard]] LORSA_API double normalization_scale(const ActivationStats& stats, int64_t d_model);

}  // namespace lorsa::data
