#pragma once

#include <c10/core/ScalarType.h>

#include <optional>
#include <string>
#include <string_view>

namespace lorsa::io {

/// A dtype of the safetensors format.
struct SafetensorsDtype {
  std::string_view name;
  size_t bits = 0;  ///< of an element
  /// ATen's; Undefined for those that are not read.
  c10::ScalarType scalar = c10::ScalarType::Undefined;
};

/// The dtype of that name, nothing for names that the format does not have.
[[nodiscard]] std::optional<SafetensorsDtype> dtype_of_name(std::string_view name);

/// The format's name of a dtype, nothing for dtypes it does not have or that are not read.
[[nodiscard]] std::optional<std::string> name_of_dtype(c10::ScalarType dtype);

/// All names of dtypes that are read, for messages.
[[nodiscard]] std::string known_dtype_names();

}  // namespace lorsa::io
