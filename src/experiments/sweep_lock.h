#pragma once

#include <filesystem>
#include <optional>

#include "io/file_descriptor.h"

namespace lorsa::experiments {

/// Says that a process works at something: an exclusive lock on a file, which the kernel drops with
/// the process. The file stays.
class SweepLock {
 public:
  /// Takes the lock of `file`, made where it is missing; nothing if another holds it. Throws
  /// IoError. On a file system without locks it is taken, with a warning.
  [[nodiscard]] static std::optional<SweepLock> try_take(const std::filesystem::path& file);

 private:
  explicit SweepLock(io::FileDescriptor file) : file_(std::move(file)) {}

  io::FileDescriptor file_;
};

}  // namespace lorsa::experiments
