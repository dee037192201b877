#include "lorsa/io/files.h"

#include <fcntl.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <system_error>

#include "core/file_content.h"
#include "io/file_descriptor.h"
#include "lorsa/core/error.h"
#include "lorsa/core/log.h"
#include "lorsa/core/text.h"

namespace lorsa::io {
namespace {

std::filesystem::path folder_of(const std::filesystem::path& path) {
  const std::filesystem::path parent = path.parent_path();
  return parent.empty() ? std::filesystem::path(".") : parent;
}

/// Whether `path` is there and no file: renaming another over /dev/null would take it away.
bool is_device(const std::filesystem::path& path) {
  std::error_code error;
  return std::filesystem::is_other(std::filesystem::status(path, error));
}

}  // namespace

std::string read_file(const std::filesystem::path& path) {
  const FileDescriptor file(path, O_RDONLY);
  std::string content(file.size(path), '\0');
  pread_exact(file, content.data(), content.size(), 0, path, "content");
  // What nobody ever means, even where any text would do.
  const FileContent what =
      content_of(std::string_view(content).substr(0, kContentBytes), content.size());
  LORSA_CHECK(what.content != Content::kGitLfsPointer && what.content != Content::kGitAnnexPointer,
              FormatError, "{}: expected its content, found {}; {}", path, what.found, what.next);
  return content;
}

std::string read_text(const std::filesystem::path& path) {
  return checked_text(read_file(path), path.string());
}

void write_file(const std::filesystem::path& path, std::string_view content) {
  check_can_write(path);
  if (is_device(path)) {
    FileDescriptor device(path, O_WRONLY);
    write_all(device, content.data(), content.size(), path);
    device.close(path);
    return;
  }
  PendingFile pending(path);
  FileDescriptor file(pending.temporary_path(), O_WRONLY | O_CREAT | O_TRUNC);
  write_all(file, content.data(), content.size(), pending.temporary_path());
  file.close(pending.temporary_path());
  pending.commit();
}

void check_can_write(const std::filesystem::path& path) {
  std::error_code error;
  LORSA_CHECK(!std::filesystem::is_directory(path, error), IoError,
              "{}: cannot write: a folder of that name is in the way", path);
  if (is_device(path)) {
    LORSA_CHECK(::access(path.c_str(), W_OK) == 0, IoError, "{}",
                errno_message(path, "cannot write"));
    return;
  }
  // What is redirected to a file lies there under a name of its own; another one would not be it.
  const std::string name = path.lexically_normal().string();
  LORSA_CHECK(!std::filesystem::is_symlink(path, error) ||
                  (!name.starts_with("/dev/") && !name.starts_with("/proc/")),
              IoError,
              "{}: cannot write: it stands for a file (redirected output?); give that file's name",
              path);
  const std::filesystem::path folder = folder_of(path);
  const std::string what = formatted("cannot write into {}", folder);
  LORSA_CHECK(!std::filesystem::exists(folder, error) || is_directory(folder, error), IoError,
              "{}: {}: it is no folder", path, what);
  LORSA_CHECK(::access(folder.c_str(), W_OK | X_OK) == 0, IoError, "{}", errno_message(path, what));
}

PendingFile::PendingFile(std::filesystem::path final_path)
    : final_(std::move(final_path)), temporary_(final_.string() + ".tmp") {}

PendingFile::~PendingFile() {
  if (!committed_ && ::unlink(temporary_.c_str()) != 0 && errno != ENOENT) {
    log_warning("{}", errno_message(temporary_, "cannot remove"));
  }
}

void PendingFile::commit() {
  LORSA_CHECK(!committed_, IoError, "{}: committed twice", final_);
  sync_path(temporary_);
  rename_durably(temporary_, final_);
  committed_ = true;
}

void sync_path(const std::filesystem::path& path) {
  FileDescriptor file(path, O_RDONLY);
  LORSA_CHECK(::fsync(file.get()) == 0, IoError, "{}", errno_message(path, "cannot fsync"));
  file.close(path);
}

void rename_durably(const std::filesystem::path& from, const std::filesystem::path& to) {
  LORSA_CHECK(std::rename(from.c_str(), to.c_str()) == 0, IoError, "{}",
              errno_message(from, formatted("cannot rename to {}", to)));
  sync_path(folder_of(to));
}

void make_directories(const std::filesystem::path& path) {
  std::error_code error;
  std::filesystem::create_directories(path, error);
  // With a symbolic link to a folder in place, libstdc++ 12 reports an error although all is well.
  std::error_code unused;
  LORSA_CHECK(std::filesystem::is_directory(path, unused), IoError,
              "{}: cannot make the folder: {}", path,
              error ? error.message() : std::string("a file of that name is in the way"));
}

int64_t free_bytes(const std::filesystem::path& path) {
  std::filesystem::path probe = std::filesystem::absolute(path);
  std::error_code error;
  while (!std::filesystem::exists(probe, error) && probe.has_relative_path()) {
    probe = probe.parent_path();
  }

  struct statvfs status {};

  LORSA_CHECK(::statvfs(probe.c_str(), &status) == 0, IoError, "{}",
              errno_message(probe, "cannot find out the free space"));
  return static_cast<int64_t>(status.f_bavail) * static_cast<int64_t>(status.f_frsize);
}

}  // namespace lorsa::io
