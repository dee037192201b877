#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

#include "data/shard_format.h"
#include "data/stored_rows.h"
#include "io/file_descriptor.h"
#include "io/hdf5.h"
#include "lorsa/data/manifest.h"
#include "lorsa/io/files.h"

namespace lorsa::data {

/// A shard being written as `<file>.tmp`; removed again unless finish() succeeds.
class ShardWriter {
 public:
  /// Space for `capacity` rows at most.
  ShardWriter(const std::filesystem::path& path, const Manifest& manifest, int64_t capacity);

  [[nodiscard]] int64_t num_rows() const { return num_rows_; }

  [[nodiscard]] int64_t room() const { return capacity_ - num_rows_; }

  /// Writes rows [first, first + count) of `rows`. Throws IoError.
  void append(const StoredRows& rows, int64_t first, int64_t count);

  /// Cuts the shard to the rows it got, marks it complete, syncs and renames it. Returns its
  /// structure_checksum(). Throws IoError.
  [[nodiscard]] std::string finish();

 private:
  void write(const void* data, size_t bytes_per_row, ShardPart part, int64_t count);
  void shrink();

  std::filesystem::path path_;
  const Manifest& manifest_;
  int64_t capacity_;
  int64_t num_rows_ = 0;
  io::PendingFile pending_;
  io::Hdf5Layout layout_;
  io::FileDescriptor file_;
};

}  // namespace lorsa::data
