#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include "lorsa/core/api.h"

namespace lorsa::io {

/// The whole file as bytes. Throws IoError; FormatError for a pointer of Git LFS or git-annex that
/// stands in the place of the file.
[[nodiscard]] LORSA_API std::string read_file(const std::filesystem::path& path);

/// The whole of a text file that a person may have written, as checked_text() takes it: UTF-8
/// without its byte order mark. Throws IoError, or FormatError if it is something else.
[[nodiscard]] LORSA_API std::string read_text(const std::filesystem::path& path);

/// Replaces `path` by `content`: written as `<path>.tmp`, fsynced, renamed, folder fsynced. Throws
/// IoError; `path` is then as before and no `.tmp` is left. A device, pipe or socket (/dev/null,
/// /dev/stdout in a pipeline) is written to and stays what it is.
LORSA_API void write_file(const std::filesystem::path& path, std::string_view content);

/// Throws the IoError that write_file(path) would end in where that can be known before: no folder
/// to write into, or a folder of that name. For commands that compute long before they write.
LORSA_API void check_can_write(const std::filesystem::path& path);

/// A file being written under `<final>.tmp`; the final name appears with commit() only.
///
/// Without commit() the destructor removes the temporary file.
class LORSA_API PendingFile {
 public:
  explicit PendingFile(std::filesystem::path final_path);
  ~PendingFile();
  PendingFile(const PendingFile&) = delete;
  PendingFile& operator=(const PendingFile&) = delete;

  [[nodiscard]] const std::filesystem::path& temporary_path() const { return temporary_; }

  /// fsync, rename, fsync of the folder. The file must be closed. Throws IoError.
  void commit();

 private:
  std::filesystem::path final_;
  std::filesystem::path temporary_;
  bool committed_ = false;
};

/// fsync of a file or a folder. Throws IoError.
LORSA_API void sync_path(const std::filesystem::path& path);

/// Renames a finished folder or file and makes it durable. Throws IoError.
LORSA_API void rename_durably(const std::filesystem::path& from, const std::filesystem::path& to);

/// Creates the folder and its parents; throws IoError naming it where that fails.
LORSA_API void make_directories(const std::filesystem::path& path);

/// Bytes that can still be written where `path` (or its nearest existing parent) lies.
[[nodiscard]] LORSA_API int64_t free_bytes(const std::filesystem::path& path);

}  // namespace lorsa::io
