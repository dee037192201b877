#include "experiments/sweep_lock.h"

#include <fcntl.h>
#include <sys/file.h>

#include <cerrno>

#include "lorsa/core/error.h"
#include "lorsa/core/log.h"
#include "lorsa/io/files.h"

namespace lorsa::experiments {

std::optional<SweepLock> SweepLock::try_take(const std::filesystem::path& file) {
  io::make_directories(file.parent_path());
  io::FileDescriptor descriptor(file, O_RDWR | O_CREAT);
  if (::flock(descriptor.get(), LOCK_EX | LOCK_NB) == 0) {
    return SweepLock(std::move(descriptor));
  }
  if (errno == ENOSYS || errno == ENOLCK || errno == EOPNOTSUPP) {
    log_warning(
        "{}",
        io::errno_message(
            file, "this file system has no locks: only one process may work at a sweep here"));
    return SweepLock(std::move(descriptor));
  }
  LORSA_CHECK(errno == EWOULDBLOCK, IoError, "{}", io::errno_message(file, "cannot lock"));
  return std::nullopt;
}

}  // namespace lorsa::experiments
