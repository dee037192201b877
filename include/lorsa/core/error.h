#pragma once

#include <sstream>
#include <stdexcept>
#include <string>

namespace lorsa {

/// Base of every exception that the library throws on purpose.
///
/// A message says where, what was expected, what was found and, where known, the next step.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// A configuration or command line that cannot be carried out; names file:line:column or the key.
class ConfigError : public Error {
 public:
  using Error::Error;
};

/// A file whose content is not what its format demands; names path, dataset or tensor, and offset.
class FormatError : public Error {
 public:
  using Error::Error;
};

/// A file operation that failed; names path and errno's text.
class IoError : public Error {
 public:
  using Error::Error;
};

/// Tensors whose shapes or dtypes do not fit together.
class ShapeError : public Error {
 public:
  using Error::Error;
};

/// A device call or a communicator call that failed; names call and code.
class DeviceError : public Error {
 public:
  using Error::Error;
};

/// A stop signal was honoured: state is saved and the same command continues the work.
class Interrupted : public Error {
 public:
  using Error::Error;
};

/// Exit codes of the commands (design section 6).
enum class ExitCode : int {
  kDone = 0,
  kInternal = 1,
  kConfig = 2,
  kFormat = 3,
  kIo = 4,
  kDevice = 5,
  kInterrupted = 75
};

/// The exit code that a command reports for `error`.
[[nodiscard]] ExitCode exit_code_for(const std::exception& error) noexcept;

/// Joins its arguments with operator<<.
template <typename... Parts>
[[nodiscard]] std::string concat(const Parts&... parts) {
  std::ostringstream out;
  (out << ... << parts);
  return out.str();
}

}  // namespace lorsa

/// Throws `Type` with the joined message parts unless `condition` holds. Always on.
#define LORSA_CHECK(condition, Type, ...)                \
  do {                                                   \
    if (!(condition)) [[unlikely]] {                     \
      throw ::lorsa::Type(::lorsa::concat(__VA_ARGS__)); \
    }                                                    \
  } while (false)
