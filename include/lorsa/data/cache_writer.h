#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <vector>

#include "lorsa/core/api.h"
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

/// Which part of an extraction a writer does: shard i is written by rank i % world_size.
struct WriterRank {
  int64_t rank = 0;
  int64_t world_size = 1;
  double timeout_s = 1800.0;  ///< how long a rank waits for others that make no headway
};

/// Writes a cache folder shard by shard, alone or as one of several ranks that share the folder.
///
/// A shard is finished once it is synced, renamed and its record (`shard-00000.done`) is written;
/// the manifest stands in the folder from the beginning and gets counts, statistics and shards at
/// the end, from rank 0. Opening a folder with an unfinished manifest of the same configuration
/// continues: finished shards stay, whichever rank and however many of them wrote them; another
/// configuration is a ConfigError naming the differing lines, and so is a folder that holds
/// anything else. What an interrupted run left is removed. The bytes written depend on the rows
/// alone, not on how they were grouped into append() calls, on ranks or on interruptions.
///
/// One thread. A second writer of the same rank, or one of a larger job that still runs, is an
/// IoError; so is a folder that is removed or replaced meanwhile. Rank 0 makes the folder; the
/// others wait for it.
class LORSA_API CacheWriter {
 public:
  /// `plan` carries everything but counts, statistics and shards; rows_per_shard > 0. `attention`
  /// is the layer's own; a site that is no attention has none, and it is not looked at.
  CacheWriter(const std::filesystem::path& folder,
              const Manifest& plan,
              const kernels::Mhsa& attention,
              int64_t rows_per_shard,
              const WriterRank& rank = {});
  ~CacheWriter();

  /// Rows in finished shards, those of other ranks included as far as they were there at the start.
  [[nodiscard]] int64_t num_rows() const;
  /// True if the folder already held a complete cache of this configuration: nothing to do.
  [[nodiscard]] bool already_complete() const;
  /// True if row `row` belongs to this rank and is not in a finished shard.
  [[nodiscard]] bool wants(int64_t row) const;

  /// Rows first_row, first_row + 1, ... of the cache; those that are not wanted are passed over.
  /// Throws ShapeError, FormatError for values that are not finite, IoError if the disk is full:
  /// finished shards stay, the one being written is dropped, and later calls throw.
  void append_at(int64_t first_row, const RowBlock& rows);
  /// Rows behind those of the last append(), at first behind the leading finished shards.
  void append(const RowBlock& rows);

  /// Closes the last shard of a cache of `num_rows` rows; rank 0 then waits until all shards are
  /// finished and marks the manifest complete. A last shard with fewer rows than rows_per_shard is
  /// copied once, so it needs its own size of free space beside it. Throws FormatError if there are
  /// no rows at all, DeviceError naming rank and shard if another rank ended or stood still.
  void finish(int64_t num_rows);
  /// After append() calls alone. A second call does nothing.
  void finish();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// Removes what an extraction that was killed between the end of the manifest and its own end left
/// in the folder of a complete cache: records of shards, temporary files, locks. Touches nothing
/// where there is none of them. Throws IoError if a file cannot be removed or a writer is alive.
LORSA_API void remove_leftovers_of_complete_cache(const std::filesystem::path& folder);

}  // namespace lorsa::data
