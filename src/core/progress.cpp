#include "lorsa/core/progress.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <utility>

#include "core/terminal.h"

namespace lorsa {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::milliseconds kRedrawInterval(100);
constexpr std::chrono::seconds kLineInterval(10);

double seconds_between(Clock::time_point from, Clock::time_point to) {
  return std::chrono::duration<double>(to - from).count();
}

template <typename... Values>
std::string print(const char* format, Values... values) {
  std::array<char, 64> buffer{};
  std::snprintf(buffer.data(), buffer.size(), format, values...);
  return buffer.data();
}

}  // namespace

Progress::Progress(
    std::string label, int64_t total, std::string unit, int64_t already, Visible visible)
    : label_(std::move(label)),
      unit_(std::move(unit)),
      total_(total),
      already_(already),
      done_(already),
      visible_(visible == Visible::kYes),
      terminal_(terminal::is_interactive()),
      start_(Clock::now()),
      last_draw_(start_) {}

Progress::~Progress() {
  try {
    finish();
  } catch (...) {
    // Only memory can run out here, and the line is not worth a terminated process.
  }
}

void Progress::update(int64_t done, const std::string& note) {
  if (finished_) {
    return;
  }
  done_ = done;
  const Clock::time_point now = Clock::now();
  if (!visible_) {
    return;
  }
  note_ = note;
  const Clock::duration interval =
      terminal_ ? Clock::duration(kRedrawInterval) : Clock::duration(kLineInterval);
  if (now - last_draw_ >= interval) {
    last_draw_ = now;
    draw();
  }
}

void Progress::finish() {
  if (finished_) {
    return;
  }
  finished_ = true;
  if (visible_) {
    draw();
    if (terminal_) {
      terminal::end_line();
    }
  }
}

double Progress::rate() const {
  const double elapsed = seconds_between(start_, Clock::now());
  return elapsed > 0.0 ? static_cast<double>(done_ - already_) / elapsed : 0.0;
}

void Progress::draw() {
  const auto done = static_cast<double>(done_);
  const auto total = static_cast<double>(total_);
  const double now_rate = rate();
  std::string line = label_;
  if (total_ > 0) {
    line += print("  %3.0f%%", std::floor(100.0 * std::min(done / total, 1.0)));
    line += "  " + format_si(done) + "/" + format_si(total) + " " + unit_;
  } else {
    line += "  " + format_si(done) + " " + unit_;
  }
  line += "  " + format_si(now_rate) + " " + unit_ + "/s";
  if (finished_ || done_ >= total_) {
    line += "  " + format_duration(seconds_between(start_, Clock::now()));
  } else if (now_rate > 0.0) {
    line += "  " + format_duration((total - done) / now_rate) + " left";
  }
  if (!note_.empty()) {
    line += "  " + note_;
  }
  if (terminal_) {
    terminal::redraw(line);
  } else {
    terminal::write_line(line);
  }
}

std::string format_duration(double seconds) {
  // Beyond 1,000 years something other than the duration is wrong; lround would overflow later.
  if (!(seconds >= 0.0 && seconds < 3.2e10)) {
    return "?";
  }
  const long total = std::lround(seconds);
  if (total < 60) {
    return print("%lds", total);
  }
  if (total < 3600) {
    return print("%ldm %02lds", total / 60, total % 60);
  }
  if (total < 48 * 3600) {
    return print("%ldh %02ldm", total / 3600, total / 60 % 60);
  }
  return print("%ldd %02ldh", total / 86400, total / 3600 % 24);
}

std::string format_si(double value) {
  static constexpr std::array<const char*, 6> kSuffixes = {"", "k", "M", "G", "T", "P"};
  size_t step = 0;
  // 999.5 would print as 1e+03 with three digits.
  while (std::abs(value) >= 999.5 && step + 1 < kSuffixes.size()) {
    value /= 1000.0;
    ++step;
  }
  return print("%.3g", value) + kSuffixes[step];
}

std::string format_bytes(double bytes) {
  static constexpr std::array<const char*, 6> kSuffixes = {"KiB", "MiB", "GiB",
                                                           "TiB", "PiB", "EiB"};
  if (std::abs(bytes) < 1024.0) {
    return print("%.0f B", bytes);
  }
  size_t step = 0;
  bytes /= 1024.0;
  // 1023.95 would print as 1024.0.
  while (std::abs(bytes) >= 1023.95 && step + 1 < kSuffixes.size()) {
    bytes /= 1024.0;
    ++step;
  }
  return print("%.1f ", bytes) + kSuffixes[step];
}

}  // namespace lorsa
