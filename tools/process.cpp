#include "process.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <iostream>

#include "lorsa/core/error.h"

namespace lorsa::tools {
namespace {

bool pipe_signal_was_ignored = false;

void open_if_closed(int stream, int flags) {
  if (::fcntl(stream, F_GETFD) != -1 || errno != EBADF) {
    return;
  }
  // The lowest free number is taken, and streams are opened in their order: it is `stream`.
  static_cast<void>(::open("/dev/null", flags));
}

/// Whether standard output is a pipe or socket whose other end is closed.
bool nobody_reads() {
  pollfd output{STDOUT_FILENO, POLLOUT, 0};
  return ::poll(&output, 1, 0) > 0 && (output.revents & (POLLERR | POLLHUP)) != 0;
}

}  // namespace

void secure_process() {
  open_if_closed(STDIN_FILENO, O_RDONLY);
  open_if_closed(STDOUT_FILENO, O_RDONLY);  // so that writing to it fails
  open_if_closed(STDERR_FILENO, O_RDWR);
  pipe_signal_was_ignored = std::signal(SIGPIPE, SIG_IGN) == SIG_IGN;
  static_cast<void>(std::signal(SIGXFSZ, SIG_IGN));
}

void finish_output() {
  std::cout.flush();
  if (std::cout.good()) {
    return;
  }
  if (nobody_reads() && !pipe_signal_was_ignored) {
    static_cast<void>(std::signal(SIGPIPE, SIG_DFL));
    static_cast<void>(std::raise(SIGPIPE));
  }
  throw IoError("standard output: cannot write the results");
}

}  // namespace lorsa::tools
