#pragma once

#include <fcntl.h>
#include <pty.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <string>

#include "support/temp_dir.h"

namespace lorsa::test {

/// While it lives, standard error goes to a file.
class CaptureStderr {
 public:
  CaptureStderr() : path_((folder_ / "stderr").string()), saved_(::dup(STDERR_FILENO)) {
    const int file = ::open(path_.c_str(), O_CREAT | O_WRONLY | O_APPEND, 0600);
    if (saved_ < 0 || file < 0 || ::dup2(file, STDERR_FILENO) < 0) {
      throw std::runtime_error("cannot redirect standard error");
    }
    ::close(file);
  }

  ~CaptureStderr() {
    ::dup2(saved_, STDERR_FILENO);
    ::close(saved_);
  }

  CaptureStderr(const CaptureStderr&) = delete;
  CaptureStderr& operator=(const CaptureStderr&) = delete;

  [[nodiscard]] std::string text() const {
    std::fflush(stderr);
    std::ostringstream text;
    text << std::ifstream(path_).rdbuf();
    return text.str();
  }

 private:
  TempDir folder_;
  std::string path_;
  int saved_;
};

/// While it lives, standard error is a terminal of 40 columns.
class TerminalStderr {
 public:
  TerminalStderr() : saved_(::dup(STDERR_FILENO)) {
    winsize size = {};
    size.ws_row = 24;
    size.ws_col = 40;
    int terminal = -1;
    if (saved_ < 0 || ::openpty(&reader_, &terminal, nullptr, nullptr, &size) != 0 ||
        ::dup2(terminal, STDERR_FILENO) < 0) {
      throw std::runtime_error("cannot open a pseudo-terminal");
    }
    ::close(terminal);
    ::fcntl(reader_, F_SETFL, O_NONBLOCK);
    ::setenv("TERM", "xterm", 1);
  }

  ~TerminalStderr() {
    ::dup2(saved_, STDERR_FILENO);
    ::close(saved_);
    ::close(reader_);
  }

  TerminalStderr(const TerminalStderr&) = delete;
  TerminalStderr& operator=(const TerminalStderr&) = delete;

  /// What was written since the last call.
  [[nodiscard]] std::string text() const {
    std::string all;
    char buffer[512];
    for (;;) {
      const ssize_t count = ::read(reader_, buffer, sizeof buffer);
      if (count <= 0) {
        return all;
      }
      all.append(buffer, static_cast<size_t>(count));
    }
  }

 private:
  int saved_;
  int reader_ = -1;
};

}  // namespace lorsa::test
