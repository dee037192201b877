#include "io/file_descriptor.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

#include "core/file_content.h"
#include "lorsa/core/error.h"

namespace lorsa::io {

namespace {

const char* kind_of(mode_t mode) {
  return S_ISDIR(mode)    ? "a folder"
         : S_ISFIFO(mode) ? "a pipe (write its content to a file first)"
         : S_ISSOCK(mode) ? "a socket"
                          : "a device";
}

}  // namespace

std::string errno_message(const std::filesystem::path& path, const std::string& what) {
  const int code = errno;
  return formatted("{}: {}: {}", path, what, std::system_category().message(code));
}

FileDescriptor::FileDescriptor(const std::filesystem::path& path, int flags, mode_t mode)
    // O_NONBLOCK does nothing to files; a pipe that nobody writes to would be waited for.
    : fd_(::open(path.c_str(),
                 flags | O_CLOEXEC | ((flags & O_ACCMODE) == O_RDONLY ? O_NONBLOCK : 0),
                 mode)) {
  if (fd_ < 0) {
    const std::string message = errno_message(path, "cannot open");
    throw IoError((flags & O_ACCMODE) == O_RDONLY ? message + why_absent(path) : message);
  }
}

FileDescriptor::~FileDescriptor() {
  if (fd_ >= 0) {
    ::close(fd_);
  }
}

uint64_t FileDescriptor::size(const std::filesystem::path& path) const {
  struct stat status {};

  LORSA_CHECK(::fstat(fd_, &status) == 0, IoError, "{}", errno_message(path, "cannot stat"));
  LORSA_CHECK(S_ISREG(status.st_mode), IoError, "{}: expected a file, found {}", path,
              kind_of(status.st_mode));
  return static_cast<uint64_t>(status.st_size);
}

void FileDescriptor::close(const std::filesystem::path& path) {
  const int fd = std::exchange(fd_, -1);
  LORSA_CHECK(fd < 0 || ::close(fd) == 0, IoError, "{}", errno_message(path, "cannot close"));
}

void write_all(const FileDescriptor& file,
               const void* data,
               size_t size,
               const std::filesystem::path& path) {
  const char* next = static_cast<const char*>(data);
  while (size > 0) {
    const ssize_t written = ::write(file.get(), next, size);
    if (written < 0 && errno == EINTR) {
      continue;
    }
    LORSA_CHECK(written >= 0, IoError, "{}", errno_message(path, "cannot write"));
    next += written;
    size -= static_cast<size_t>(written);
  }
}

void pwrite_all(const FileDescriptor& file,
                const void* data,
                size_t size,
                uint64_t offset,
                const std::filesystem::path& path) {
  const char* bytes = static_cast<const char*>(data);
  size_t done = 0;
  while (done < size) {
    const ssize_t written =
        ::pwrite(file.get(), bytes + done, size - done, static_cast<off_t>(offset + done));
    if (written < 0 && errno == EINTR) {
      continue;
    }
    LORSA_CHECK(written >= 0, IoError, "{}", errno_message(path, "cannot write"));
    done += static_cast<size_t>(written);
  }
}

void begin_writeback(const FileDescriptor& file, uint64_t offset, size_t size) noexcept {
  static_cast<void>(::sync_file_range(file.get(), static_cast<off_t>(offset),
                                      static_cast<off_t>(size), SYNC_FILE_RANGE_WRITE));
}

size_t pread_all(const FileDescriptor& file,
                 void* data,
                 size_t size,
                 uint64_t offset,
                 const std::filesystem::path& path) {
  char* next = static_cast<char*>(data);
  size_t done = 0;
  while (done < size) {
    const ssize_t got =
        ::pread(file.get(), next + done, size - done, static_cast<off_t>(offset + done));
    if (got < 0 && errno == EINTR) {
      continue;
    }
    LORSA_CHECK(got >= 0, IoError, "{}", errno_message(path, "cannot read"));
    if (got == 0) {
      break;
    }
    done += static_cast<size_t>(got);
  }
  return done;
}

void fail_cut(const std::filesystem::path& path,
              const std::string& what,
              size_t size,
              uint64_t offset,
              size_t found) {
  throw FormatError(formatted("{}: {}: expected {} bytes at offset {}, found {} (the file is cut)",
                              path, what, size, offset, found));
}

void pread_exact(const FileDescriptor& file,
                 void* data,
                 size_t size,
                 uint64_t offset,
                 const std::filesystem::path& path,
                 const std::string& what) {
  const size_t found = pread_all(file, data, size, offset, path);
  if (found != size) {
    fail_cut(path, what, size, offset, found);
  }
}

}  // namespace lorsa::io
