#pragma once

#include <c10/core/ScalarType.h>

#include <optional>
#include <string>
#include <string_view>

namespace lorsa::io {

/// ATen's dtype for a dtype name of the safetensors format, nothing for names we do not read.
[[nodiscard]] std::optional<c10::ScalarType> dtype_of_name(std::string_view name);

/// The format's name of a dtype, nothing for dtypes it does not have.
[[nodiscard]] std::optional<std::string> name_of_dtype(c10::ScalarType dtype);

/// All names that dtype_of_name() knows, for messages.
[[nodiscard]] std::string known_dtype_names();

}  // namespace lorsa::io
