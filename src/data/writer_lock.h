#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <filesystem>

#include "io/file_descriptor.h"

namespace lorsa::data {

/// True for the names of lock files.
[[nodiscard]] bool is_lock_file_name(const std::string& name);

/// Says that a rank writes a cache: an exclusive lock on `writer-<rank>.lock` in its folder, which
/// the kernel drops with the process. The file is removed with the object.
class WriterLock {
 public:
  /// Throws IoError naming process and host if another writer of this rank is alive; rank 0 also
  /// looks for living ranks that this job does not have.
  WriterLock(const std::filesystem::path& folder, int64_t rank, int64_t world_size);
  ~WriterLock();
  WriterLock(const WriterLock&) = delete;
  WriterLock& operator=(const WriterLock&) = delete;

  /// Throws IoError if the lock file is not the one that was locked any more: the folder was
  /// removed, and perhaps another extraction made it anew.
  void check_in_place() const;

  /// True if a process holds the lock of `rank`.
  [[nodiscard]] static bool is_held(const std::filesystem::path& folder, int64_t rank);

 private:
  [[nodiscard]] bool in_place() const;
  [[nodiscard]] bool try_lock();
  void refuse_other_jobs(int64_t world_size) const;

  std::filesystem::path folder_;
  std::filesystem::path path_;
  io::FileDescriptor file_;
};

}  // namespace lorsa::data
