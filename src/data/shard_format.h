#pragma once

#include <c10/core/ScalarType.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "io/file_descriptor.h"
#include "io/hdf5.h"
#include "lorsa/data/manifest.h"

namespace lorsa::data {

inline constexpr const char* kManifestFile = "manifest.json";
inline constexpr const char* kAttentionFile = "attention.safetensors";
/// The root attribute that says a shard was finished.
inline constexpr const char* kShardMark = "complete";

/// "shard-00007.h5"
[[nodiscard]] std::string shard_file_name(size_t index);

/// True for the names that shard_file_name() makes.
[[nodiscard]] bool is_shard_file_name(const std::string& name);

[[nodiscard]] c10::ScalarType scalar_type(StoreDtype dtype);

/// Positions in the list that shard_datasets() returns; /target is last because store: input has
/// none.
enum ShardPart : size_t { kTokens, kScored, kDocument, kHeldout, kChecksum, kInput, kTarget };

/// The datasets of a shard with `num_rows` rows; offsets still unknown.
[[nodiscard]] std::vector<io::Hdf5Dataset> shard_datasets(const Manifest& manifest,
                                                          int64_t num_rows);

/// Where one shard's bytes lie. Holds no open file: a cache may have more shards than a process may
/// have files, and opening one costs microseconds beside reading a row.
class ShardFile {
 public:
  /// Opens and checks it through HDF5. Throws IoError or FormatError.
  ShardFile(const std::filesystem::path& path, const Manifest& manifest, int64_t num_rows);

  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

  [[nodiscard]] int64_t num_rows() const { return num_rows_; }

  [[nodiscard]] io::FileDescriptor open() const;

  /// Bytes of one row of a part.
  [[nodiscard]] size_t row_bytes(ShardPart part) const;

  /// Reads `count` rows of a part from `row` (counted in the shard) on.
  void read(const io::FileDescriptor& file,
            ShardPart part,
            int64_t row,
            int64_t count,
            void* destination) const;

 private:
  std::filesystem::path path_;
  int64_t num_rows_;
  std::vector<io::Hdf5Dataset> datasets_;
};

}  // namespace lorsa::data
