#include "lorsa/core/error.h"

#include <c10/util/Exception.h>

#include <filesystem>
#include <new>
#include <sstream>

#include "torch_private/out_of_memory.h"

namespace lorsa {
namespace {

template <typename... Kinds>
bool is_any_of(const std::exception& error) noexcept {
  return ((dynamic_cast<const Kinds*>(&error) != nullptr) || ...);
}

}  // namespace

ExitCode exit_code_for(const std::exception& error) noexcept {
  if (is_any_of<Interrupted>(error)) {
    return ExitCode::kInterrupted;
  }
  if (is_any_of<ConfigError>(error)) {
    return ExitCode::kConfig;
  }
  // Shapes that do not fit reach the end of a command only through what its files hold.
  if (is_any_of<FormatError, ShapeError>(error)) {
    return ExitCode::kFormat;
  }
  if (is_any_of<IoError, std::filesystem::filesystem_error>(error)) {
    return ExitCode::kIo;
  }
  // LibTorch's own kinds: device memory used up, a failed device call, a failed collective.
  if (is_any_of<DeviceError, c10::OutOfMemoryError, c10::AcceleratorError, c10::DistError>(error)) {
    return ExitCode::kDevice;
  }
  return is_out_of_memory(error) ? ExitCode::kDevice : ExitCode::kInternal;
}

bool is_out_of_memory(const std::exception& error) noexcept {
  return is_any_of<std::bad_alloc>(error) || torch_private::is_cpu_out_of_memory(error);
}

std::string format_parts(const char* format, std::initializer_list<MessagePart> parts) {
  std::ostringstream out;
  const MessagePart* next = parts.begin();
  for (const char* at = format; *at != '\0'; ++at) {
    if (*at != '{' && *at != '}') {
      out << *at;
    } else if (*++at == '}' && at[-1] == '{') {
      (next++)->write(out);
    } else {
      out << *at;
    }
  }
  return out.str();
}

}  // namespace lorsa
