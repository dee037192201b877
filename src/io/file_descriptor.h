#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>

namespace lorsa::io {

/// An open file, closed at the end of the scope.
class FileDescriptor {
 public:
  FileDescriptor() = default;
  /// open(2), close-on-exec. Throws IoError naming the path.
  FileDescriptor(const std::filesystem::path& path, int flags, mode_t mode = 0644);
  ~FileDescriptor();

  FileDescriptor(FileDescriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}

  FileDescriptor& operator=(FileDescriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }

  [[nodiscard]] int get() const { return fd_; }

  /// Size in bytes of a regular file. Throws IoError for anything else.
  [[nodiscard]] uint64_t size(const std::filesystem::path& path) const;

  /// close(2) with its error reported: a full network disk may say so only here.
  void close(const std::filesystem::path& path);

 private:
  int fd_ = -1;
};

/// "<path>: <what>: <text of errno>".
[[nodiscard]] std::string errno_message(const std::filesystem::path& path, const std::string& what);

/// Writes all bytes at the file's position. Throws IoError.
void write_all(const FileDescriptor& file,
               const void* data,
               size_t size,
               const std::filesystem::path& path);

/// Writes all bytes at `offset`. Throws IoError.
void pwrite_all(const FileDescriptor& file,
                const void* data,
                size_t size,
                uint64_t offset,
                const std::filesystem::path& path);

/// Asks the kernel to begin writing what pwrite_all() left in memory, so that fsync has little to
/// wait for at the end. A hint: never fails.
void begin_writeback(const FileDescriptor& file, uint64_t offset, size_t size) noexcept;

/// Reads `size` bytes at `offset` and returns how many there were: fewer where the file ends
/// before. Throws IoError.
size_t pread_all(const FileDescriptor& file,
                 void* data,
                 size_t size,
                 uint64_t offset,
                 const std::filesystem::path& path);

/// Throws the FormatError of a file that ends `found` bytes behind `offset`; `what` was to be read.
[[noreturn]] void fail_cut(const std::filesystem::path& path,
                           const std::string& what,
                           size_t size,
                           uint64_t offset,
                           size_t found);

/// Reads exactly `size` bytes at `offset`. IoError if the call fails, FormatError if the file ends
/// before; `what` says in the message what was read.
void pread_exact(const FileDescriptor& file,
                 void* data,
                 size_t size,
                 uint64_t offset,
                 const std::filesystem::path& path,
                 const std::string& what);

}  // namespace lorsa::io
