#include "core/terminal.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <string_view>

#include "lorsa/core/error.h"

namespace lorsa::terminal {
namespace {

struct State {
  std::mutex mutex;
  bool line_open = false;
};

// Never destroyed: destructors of static objects may still log.
State& state() {
  static State& instance = *new State;
  return instance;
}

size_t width() {
  winsize size = {};
  if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 1) {
    return size.ws_col;
  }
  return 80;
}

// One write per line, so that lines of several processes do not mix.
void write_all(const std::string& text) {
  std::fwrite(text.data(), 1, text.size(), stderr);
  std::fflush(stderr);
}

}  // namespace

bool is_interactive() {
  const char* term = std::getenv("TERM");
  return isatty(STDERR_FILENO) == 1 && term != nullptr && std::string_view(term) != "dumb";
}

void write_line(const std::string& line) {
  State& s = state();
  const std::lock_guard lock(s.mutex);
  write_all(formatted("{}{}\n", s.line_open ? "\r\x1b[K" : "", line));
  s.line_open = false;
}

void redraw(const std::string& line) {
  State& s = state();
  const std::lock_guard lock(s.mutex);
  // A full line would wrap and leave its head behind at the next redraw.
  write_all(formatted("\r{}\x1b[K", std::string_view(line).substr(0, width() - 1)));
  s.line_open = true;
}

void end_line() {
  State& s = state();
  const std::lock_guard lock(s.mutex);
  if (s.line_open) {
    write_all("\n");
    s.line_open = false;
  }
}

}  // namespace lorsa::terminal
