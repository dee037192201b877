#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <vector>

#include "lorsa/data/manifest.h"
#include "lorsa/kernels/mhsa.h"

namespace lorsa::data {

/// Rows to append. input and target [n, T, D] of any float dtype (converted to the stored dtype),
/// tokens [n, T] int32, scored [n, T] bool; document and heldout one per row. target may be
/// undefined with StoreMode::kInput only if it is not needed for statistics (it always is: hand it
/// in).
struct RowBlock {
  at::Tensor input_BTD;
  at::Tensor target_BTD;
  at::Tensor tokens_BT;
  at::Tensor scored_BT;
  std::vector<int64_t> document;
  std::vector<uint8_t> heldout;
};

/// Writes a cache folder shard by shard; a shard is listed in the manifest only once it is
/// finished, synced and renamed.
///
/// Opening a folder with an unfinished manifest of the same configuration continues after its last
/// finished shard (num_rows() tells how many rows are there); another configuration is a
/// ConfigError naming the differing lines, and so is a folder that holds anything else. Stray
/// `*.tmp` files of an earlier run are removed. The bytes written depend on the rows alone, not on
/// how they were grouped into append() calls or on interruptions. One thread, one writer a folder
/// (IoError for a second one).
class CacheWriter {
 public:
  /// `plan` carries everything but counts, statistics and shards; rows_per_shard > 0.
  CacheWriter(const std::filesystem::path& folder,
              const Manifest& plan,
              const kernels::Mhsa& attention,
              int64_t rows_per_shard);
  ~CacheWriter();

  /// Rows in finished shards: where the caller has to go on.
  [[nodiscard]] int64_t num_rows() const;
  /// True if the folder already held a complete cache of this configuration: nothing to do.
  [[nodiscard]] bool already_complete() const;
  /// Throws ShapeError, FormatError for values that are not finite, IoError if the disk is full:
  /// finished shards stay, the one being written is dropped, and later calls throw.
  void append(const RowBlock& rows);
  /// Closes the last shard and marks the manifest complete. A last shard with fewer rows than
  /// rows_per_shard is copied once, so it needs its own size of free space beside it. Throws
  /// FormatError if there are no rows at all.
  void finish();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace lorsa::data
