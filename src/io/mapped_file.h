#pragma once

#include <cstddef>
#include <filesystem>

namespace lorsa::io {

/// A file's bytes as a private read-only memory map.
class MappedFile {
 public:
  /// Throws IoError.
  explicit MappedFile(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  [[nodiscard]] const char* data() const { return data_; }

  [[nodiscard]] size_t size() const { return size_; }

  /// Gives the memory of bytes [begin, end) back: reading them again fetches them from the page
  /// cache or the disk. Addresses and contents stay.
  void release(size_t begin, size_t end) const;

 private:
  const char* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace lorsa::io
