#pragma once

#include <cstddef>
#include <filesystem>
#include <initializer_list>
#include <ostream>
#include <stdexcept>
#include <string>

#include "lorsa/core/api.h"

namespace lorsa {

/// Base of every exception that the library throws on purpose.
///
/// A message says where, what was expected, what was found and, where known, the next step.
class LORSA_API Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// A configuration or command line that cannot be carried out; names file:line:column or the key.
class LORSA_API ConfigError : public Error {
 public:
  using Error::Error;
};

/// A file whose content is not what its format demands; names path, dataset or tensor, and offset.
class LORSA_API FormatError : public Error {
 public:
  using Error::Error;
};

/// A file operation that failed; names path and errno's text.
class LORSA_API IoError : public Error {
 public:
  using Error::Error;
};

/// Tensors whose shapes or dtypes do not fit together.
class LORSA_API ShapeError : public Error {
 public:
  using Error::Error;
};

/// A device call or a communicator call that failed; names call and code.
class LORSA_API DeviceError : public Error {
 public:
  using Error::Error;
};

/// A stop signal was honoured: state is saved and the same command continues the work.
class LORSA_API Interrupted : public Error {
 public:
  using Error::Error;
};

/// Exit codes of the commands (docs/runs.md).
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
[[nodiscard]] LORSA_API ExitCode exit_code_for(const std::exception& error) noexcept;

/// Whether `error` says that this machine's memory was used up: std::bad_alloc, or what LibTorch's
/// CPU allocator throws.
[[nodiscard]] LORSA_API bool is_out_of_memory(const std::exception& error) noexcept;

/// A value of a message: anything that operator<< writes, held by its address. That a message of
/// any values is made by the same function saves the compiler a template for each of some thousand
/// messages.
class LORSA_API MessagePart {
 public:
  // Not explicit: messages list their values as they are.
  MessagePart(const char* text)  // NOLINT(google-explicit-constructor)
      : value_(text), write_([](std::ostream& out, const void* value) {
          out << static_cast<const char*>(value);
        }) {}

  template <typename T>
  MessagePart(const T& value)  // NOLINT(google-explicit-constructor)
      : value_(&value),
        write_([](std::ostream& out, const void* at) { out << *static_cast<const T*>(at); }) {}

  /// Paths are written as they are, without quotation marks.
  MessagePart(const std::filesystem::path& path)  // NOLINT(google-explicit-constructor)
      : value_(&path), write_([](std::ostream& out, const void* at) {
          out << static_cast<const std::filesystem::path*>(at)->native();
        }) {}

  void write(std::ostream& out) const { write_(out, value_); }

 private:
  const void* value_;
  void (*write_)(std::ostream&, const void*);
};

/// How many values `format` takes: its "{}"; "{{" and "}}" stand for braces. Any other brace gives
/// a number that no message has.
constexpr std::size_t num_placeholders(const char* format) {
  std::size_t count = 0;
  for (; *format != '\0'; ++format) {
    if (*format != '{' && *format != '}') {
      continue;
    }
    const bool is_placeholder = format[0] == '{' && format[1] == '}';
    if (!is_placeholder && format[1] != format[0]) {
      return static_cast<std::size_t>(-1);
    }
    count += is_placeholder ? 1 : 0;
    ++format;
  }
  return count;
}

/// The text of a message with `N` values; anything else does not compile.
template <std::size_t N>
struct MessageFormat {
  // Not explicit: messages begin with their text as it is.
  // NOLINTNEXTLINE(google-explicit-constructor)
  consteval MessageFormat(const char* format) : text(format) {
    if (num_placeholders(format) != N) {
      throw "a message takes as many values as it has {}";
    }
  }

  const char* text;
};

/// `format` with its "{}" replaced by the values in their order.
[[nodiscard]] LORSA_API std::string format_parts(const char* format,
                                                 std::initializer_list<MessagePart> parts);

/// `format` with its "{}" replaced by the values, written by operator<<.
template <typename... Parts>
[[nodiscard]] std::string formatted(MessageFormat<sizeof...(Parts)> format, const Parts&... parts) {
  return format_parts(format.text, {parts...});
}

/// Throws `Type` with format_parts().
template <typename Type>
[[noreturn, gnu::cold, gnu::noinline]] void throw_error(const char* format,
                                                        std::initializer_list<MessagePart> parts) {
  throw Type(format_parts(format, parts));
}

/// Never defined: the size of what it returns is the number of its parts.
template <std::size_t N>
char (&count_parts(const MessagePart (&parts)[N]))[N];

}  // namespace lorsa

/// Throws `Type` unless `condition` holds, with the message `format` whose "{}" are the values that
/// follow: LORSA_CHECK(k > 0, ConfigError, "{}: k = {}, expected a positive one", where, k). Always
/// on.
#define LORSA_CHECK(condition, Type, format, ...)                                        \
  do {                                                                                   \
    static_assert(::lorsa::num_placeholders(format) + 1 ==                               \
                      sizeof(::lorsa::count_parts({format __VA_OPT__(, ) __VA_ARGS__})), \
                  "a message takes as many values as it has {}");                        \
    if (!(condition)) [[unlikely]] {                                                     \
      ::lorsa::throw_error<::lorsa::Type>(format, {__VA_ARGS__});                        \
    }                                                                                    \
  } while (false)
