#pragma once

#include <initializer_list>
#include <ostream>
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
[[nodiscard]] ExitCode exit_code_for(const std::exception& error) noexcept;

/// Whether `error` says that this machine's memory was used up: std::bad_alloc, or what LibTorch's
/// CPU allocator throws.
[[nodiscard]] bool is_out_of_memory(const std::exception& error) noexcept;

/// A part of a message: anything that operator<< writes, held by its address. That a message of any
/// parts is made by the same function saves the compiler a template for each of some thousand
/// messages.
class MessagePart {
 public:
  // Not explicit: messages list their parts as they are.
  MessagePart(const char* text)  // NOLINT(google-explicit-constructor)
      : value_(text), write_([](std::ostream& out, const void* value) {
          out << static_cast<const char*>(value);
        }) {}

  template <typename T>
  MessagePart(const T& value)  // NOLINT(google-explicit-constructor)
      : value_(&value),
        write_([](std::ostream& out, const void* at) { out << *static_cast<const T*>(at); }) {}

  /// std::hex and its like.
  using Manipulator = std::ios_base& (*)(std::ios_base&);

  MessagePart(Manipulator manipulator)  // NOLINT(google-explicit-constructor)
      : value_(reinterpret_cast<const void*>(manipulator)),
        write_([](std::ostream& out, const void* value) {
          out << reinterpret_cast<Manipulator>(const_cast<void*>(value));
        }) {}

  void write(std::ostream& out) const { write_(out, value_); }

 private:
  const void* value_;
  void (*write_)(std::ostream&, const void*);
};

/// Joins the parts.
[[nodiscard]] std::string concat_parts(std::initializer_list<MessagePart> parts);

/// Joins its arguments with operator<<.
template <typename... Parts>
[[nodiscard]] std::string concat(const Parts&... parts) {
  return concat_parts({parts...});
}

/// Throws `Type` with the joined parts.
template <typename Type>
[[noreturn, gnu::cold, gnu::noinline]] void throw_error(std::initializer_list<MessagePart> parts) {
  throw Type(concat_parts(parts));
}

}  // namespace lorsa

/// Throws `Type` with the joined message parts unless `condition` holds. Always on.
#define LORSA_CHECK(condition, Type, ...)                 \
  do {                                                    \
    if (!(condition)) [[unlikely]] {                      \
      ::lorsa::throw_error<::lorsa::Type>({__VA_ARGS__}); \
    }                                                     \
  } while (false)
