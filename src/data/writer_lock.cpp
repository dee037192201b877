#include "data/writer_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <optional>
#include <string>
#include <thread>

#include "lorsa/core/error.h"
#include "lorsa/core/log.h"
#include "lorsa/io/files.h"

namespace lorsa::data {
namespace {

constexpr std::string_view kPrefix = "writer-";
constexpr std::string_view kSuffix = ".lock";
/// is_held() of another rank holds the lock for microseconds, so one failed try means little.
constexpr int kTries = 5;
constexpr std::chrono::milliseconds kBetweenTries{40};

std::filesystem::path lock_path(const std::filesystem::path& folder, int64_t rank) {
  return folder / formatted("{}{}{}", kPrefix, rank, kSuffix);
}

std::optional<int64_t> rank_of(const std::string& name) {
  if (!name.starts_with(kPrefix) || !name.ends_with(kSuffix)) {
    return std::nullopt;
  }
  int64_t rank = 0;
  const char* last = name.data() + name.size() - kSuffix.size();
  const auto [end, error] = std::from_chars(name.data() + kPrefix.size(), last, rank);
  return error == std::errc() && end == last ? std::optional<int64_t>(rank) : std::nullopt;
}

std::string holder_of(const std::filesystem::path& path) {
  try {
    return io::read_file(path);
  } catch (const IoError&) {
    return {};
  }
}

std::string own_name() {
  std::array<char, 256> host{};
  if (::gethostname(host.data(), host.size() - 1) != 0) {
    host[0] = '\0';
  }
  return formatted("process {} on {}", ::getpid(), host.data());
}

}  // namespace

bool is_lock_file_name(const std::string& name) {
  return rank_of(name).has_value();
}

WriterLock::WriterLock(const std::filesystem::path& folder, int64_t rank, int64_t world_size)
    : folder_(folder), path_(lock_path(folder, rank)) {
  bool locked = try_lock();
  for (int i = 1; !locked && i < kTries; ++i) {
    std::this_thread::sleep_for(kBetweenTries);
    locked = try_lock();
  }
  LORSA_CHECK(locked, IoError, "{}: another extraction is writing this cache ({}{})", folder,
              holder_of(path_), world_size > 1 ? formatted(", as rank {}", rank) : std::string());
  const std::string name = own_name();
  LORSA_CHECK(::ftruncate(file_.get(), 0) == 0, IoError, "{}",
              io::errno_message(path_, "cannot write"));
  io::write_all(file_, name.data(), name.size(), path_);
  if (rank == 0) {
    refuse_other_jobs(world_size);
  }
}

// Removed while it is still locked; a writer that had opened it before sees that it is not in
// place.
WriterLock::~WriterLock() {
  if (in_place() && ::unlink(path_.c_str()) != 0) {
    log_warning("{}", io::errno_message(path_, "cannot remove the lock file"));
  }
}

bool WriterLock::try_lock() {
  file_ = io::FileDescriptor(path_, O_RDWR | O_CREAT);
  if (::flock(file_.get(), LOCK_EX | LOCK_NB) == 0) {
    return in_place();
  }
  if (errno == ENOSYS || errno == ENOLCK || errno == EOPNOTSUPP) {
    log_warning("{}",
                io::errno_message(path_,
                                  "this file system has no locks: a second extraction into the "
                                  "folder would go unnoticed"));
    return true;
  }
  LORSA_CHECK(errno == EWOULDBLOCK, IoError, "{}", io::errno_message(path_, "cannot lock"));
  return false;
}

bool WriterLock::in_place() const {
  struct stat locked {};

  struct stat there {};

  return ::fstat(file_.get(), &locked) == 0 && ::stat(path_.c_str(), &there) == 0 &&
         locked.st_ino == there.st_ino && locked.st_dev == there.st_dev;
}

void WriterLock::check_in_place() const {
  LORSA_CHECK(in_place(), IoError,
              "{}: the cache's folder was removed or replaced while it was being written", folder_);
}

bool WriterLock::is_held(const std::filesystem::path& folder, int64_t rank) {
  const std::filesystem::path path = lock_path(folder, rank);
  if (!std::filesystem::exists(path)) {
    return false;
  }
  try {
    const io::FileDescriptor file(path, O_RDONLY);
    return ::flock(file.get(), LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK;
  } catch (const IoError&) {
    return false;  // removed in between
  }
}

void WriterLock::refuse_other_jobs(int64_t world_size) const {
  for (const auto& entry : std::filesystem::directory_iterator(folder_)) {
    const auto rank = rank_of(entry.path().filename().string());
    if (!rank.has_value() || *rank < world_size) {
      continue;
    }
    LORSA_CHECK(!is_held(folder_, *rank), IoError,
                "{}: another extraction is writing this cache ({}, as rank {})", folder_,
                holder_of(entry.path()), *rank);
    std::error_code ignored;
    std::filesystem::remove(entry.path(), ignored);  // of a killed run
  }
}

}  // namespace lorsa::data
