#pragma once

#include <c10/core/ScalarType.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "io/file_descriptor.h"
#include "io/hdf5.h"
#include "lorsa/data/manifest.h"
#include "lorsa/io/checksum.h"

namespace lorsa::data {

inline constexpr const char* kManifestFile = "manifest.json";
inline constexpr const char* kAttentionFile = "attention.safetensors";
/// The root attribute that says a shard was finished.
inline constexpr const char* kShardMark = "complete";

/// "shard-00007.h5"
[[nodiscard]] std::string shard_file_name(size_t index);

/// The number in a name that shard_file_name() makes; nothing for other names.
[[nodiscard]] std::optional<int64_t> shard_index(const std::string& file_name);

/// What activations are in memory as they are stored; int8 for kInt8.
[[nodiscard]] c10::ScalarType scalar_type(StoreDtype dtype);

/// Datasets of a shard. A cache has those of activations that it stores, and scales with kInt8.
enum ShardPart : size_t {
  kTokens,
  kScored,
  kDocument,
  kHeldout,
  kChecksum,
  kInputScale,
  kTargetScale,
  kInput,
  kTarget,
  kNumShardParts
};

/// Checksums of one row, the columns of /checksum. Format 1 has no kLabelSum.
enum RowSum : size_t {
  kInputSum,   ///< of the row's bytes in /input, then /input_scale
  kTargetSum,  ///< likewise
  kLabelSum,   ///< of the row's bytes in /tokens, /scored, /document and /heldout
  kNumRowSums
};

[[nodiscard]] size_t num_row_sums(int64_t schema);

/// The datasets of a shard with `num_rows` rows in the order of the file; offsets still unknown.
[[nodiscard]] std::vector<io::Hdf5Dataset> shard_datasets(const Manifest& manifest,
                                                          int64_t num_rows);

/// Where one shard's bytes lie. Holds no open file: a cache may have more shards than a process may
/// have files.
class ShardFile {
 public:
  /// Opens and checks it through HDF5. Throws IoError or FormatError.
  ShardFile(const std::filesystem::path& path, const Manifest& manifest, int64_t num_rows);

  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

  [[nodiscard]] int64_t num_rows() const { return num_rows_; }

  [[nodiscard]] io::FileDescriptor open() const;

  [[nodiscard]] bool has(ShardPart part) const { return row_bytes_[part] > 0; }

  /// Bytes of one row of a part; 0 of one that the shard has not.
  [[nodiscard]] size_t row_bytes(ShardPart part) const { return row_bytes_[part]; }

  /// Where row `row` of a part begins in the file.
  [[nodiscard]] uint64_t offset(ShardPart part, int64_t row) const {
    return first_byte_[part] + row_bytes_[part] * static_cast<uint64_t>(row);
  }

  /// Reads `count` rows of a part from `row` (counted in the shard) on.
  void read(const io::FileDescriptor& file,
            ShardPart part,
            int64_t row,
            int64_t count,
            void* destination) const;

  /// The same, with the bytes added to `hash`.
  void read_hashed(const io::FileDescriptor& file,
                   ShardPart part,
                   int64_t row,
                   int64_t count,
                   void* destination,
                   io::Xxh3& hash) const;

  [[nodiscard]] const std::vector<io::Hdf5Dataset>& datasets() const { return datasets_; }

 private:
  void read_bytes(const io::FileDescriptor& file,
                  ShardPart part,
                  uint64_t offset,
                  size_t size,
                  void* destination) const;

  std::filesystem::path path_;
  int64_t num_rows_;
  std::vector<io::Hdf5Dataset> datasets_;
  std::array<uint64_t, kNumShardParts> first_byte_{};
  std::array<size_t, kNumShardParts> row_bytes_{};
};

/// The dataset of `part` among those of a shard; null if there is none.
[[nodiscard]] const io::Hdf5Dataset* find_part(const std::vector<io::Hdf5Dataset>& datasets,
                                               ShardPart part);

/// "xxh3:..." of the bytes of an open shard that belong to no row: HDF5's structures, what fills up
/// to the alignment, and /checksum, in file order. With the rows' checksums this covers every byte.
[[nodiscard]] std::string structure_checksum(const io::FileDescriptor& file,
                                             const std::filesystem::path& path,
                                             const std::vector<io::Hdf5Dataset>& datasets);

}  // namespace lorsa::data
