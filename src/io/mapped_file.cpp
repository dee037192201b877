#include "io/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>

#include "io/file_descriptor.h"
#include "lorsa/core/error.h"

namespace lorsa::io {

MappedFile::MappedFile(const std::filesystem::path& path) {
  const FileDescriptor file(path, O_RDONLY);
  size_ = file.size(path);
  if (size_ == 0) {
    return;  // mmap refuses empty ranges
  }
  void* mapped = ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, file.get(), 0);
  LORSA_CHECK(mapped != MAP_FAILED, IoError, errno_message(path, "cannot map"));
  data_ = static_cast<const char*>(mapped);
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) {
    ::munmap(const_cast<char*>(data_), size_);
  }
}

}  // namespace lorsa::io
