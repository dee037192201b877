#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "lorsa/core/api.h"
#include "lorsa/core/error.h"

namespace lorsa {

enum class LogLevel { kDebug, kInfo, kWarning, kError };

/// Writes one line to standard error and to every open LogFile. Thread-safe. Never throws.
LORSA_API void log(LogLevel level, const std::string& message) noexcept;

template <typename... Parts>
void log_info(MessageFormat<sizeof...(Parts)> format, const Parts&... parts) {
  log(LogLevel::kInfo, format_parts(format.text, {parts...}));
}

template <typename... Parts>
void log_warning(MessageFormat<sizeof...(Parts)> format, const Parts&... parts) {
  log(LogLevel::kWarning, format_parts(format.text, {parts...}));
}

template <typename... Parts>
void log_error(MessageFormat<sizeof...(Parts)> format, const Parts&... parts) {
  log(LogLevel::kError, format_parts(format.text, {parts...}));
}

/// Hides messages below `level` on standard error; files still get everything from kInfo up.
LORSA_API void set_console_level(LogLevel level);

/// While it lives, log lines also go to `path` (appended, flushed per line).
class LORSA_API LogFile {
 public:
  explicit LogFile(const std::filesystem::path& path);
  ~LogFile();
  LogFile(const LogFile&) = delete;
  LogFile& operator=(const LogFile&) = delete;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace lorsa
