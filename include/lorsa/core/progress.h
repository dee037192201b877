#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include "lorsa/core/api.h"

namespace lorsa {

/// A progress line on standard error: share, rate and time left.
///
/// On a terminal it redraws one line at most ten times a second; elsewhere it prints a line every
/// ten seconds. Quiet when constructed with `Visible::kNo`. One thread.
class LORSA_API Progress {
 public:
  enum class Visible { kYes, kNo };

  /// `already` of `total` units were done by an earlier run and do not count for the rate.
  Progress(std::string label,
           int64_t total,
           std::string unit,
           int64_t already = 0,
           Visible visible = Visible::kYes);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  /// Sets the units done so far; `note` is shown behind the rate ("loss 0.31").
  void update(int64_t done, const std::string& note = {});

  /// Draws the last state and ends the line. Later calls do nothing.
  void finish();

  /// Units per second since construction, without `already`.
  [[nodiscard]] double rate() const;

 private:
  void draw();

  std::string label_;
  std::string unit_;
  std::string note_;
  int64_t total_;
  int64_t already_;
  int64_t done_;
  bool visible_;
  bool terminal_;
  bool finished_ = false;
  std::chrono::steady_clock::time_point start_;
  std::chrono::steady_clock::time_point last_draw_;
};

/// "3m 12s", "1h 04m", "12s".
[[nodiscard]] LORSA_API std::string format_duration(double seconds);

/// "1.34M", "200k", "57": three significant digits, SI suffix.
[[nodiscard]] LORSA_API std::string format_si(double value);

/// "3.2 GiB", "512 B".
[[nodiscard]] LORSA_API std::string format_bytes(double bytes);

}  // namespace lorsa
