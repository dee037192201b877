#include "io/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>

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
  LORSA_CHECK(mapped != MAP_FAILED, IoError, "{}", errno_message(path, "cannot map"));
  data_ = static_cast<const char*>(mapped);
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) {
    ::munmap(const_cast<char*>(data_), size_);
  }
}

void MappedFile::release(size_t begin, size_t end) const {
  const auto page = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
  const size_t first = begin / page * page;
  // Whole pages, neighbours' bytes in them too: nothing is lost, for the map is read-only. The
  // result is advice that the kernel may decline.
  static_cast<void>(
      ::madvise(const_cast<char*>(data_) + first, std::min(end, size_) - first, MADV_DONTNEED));
}

}  // namespace lorsa::io
