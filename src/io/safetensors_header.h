#pragma once

#include <c10/core/ScalarType.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace lorsa::io {

/// One tensor as the header describes it; begin and end count from the start of the file.
struct TensorEntry {
  std::string name;
  std::string dtype_name;                              ///< the file's
  c10::ScalarType dtype = c10::ScalarType::Undefined;  ///< Undefined if it is not read
  std::vector<int64_t> shape;
  size_t begin = 0;
  size_t end = 0;
};

/// A checked header: every entry lies inside the file and they tile its data section.
struct SafetensorsHeader {
  std::vector<TensorEntry> tensors;  ///< in the order of their data
  std::map<std::string, std::string> metadata;
};

/// Parses the header of a whole file of `size` bytes at `data`. Throws FormatError.
[[nodiscard]] SafetensorsHeader parse_safetensors_header(const char* data,
                                                         size_t size,
                                                         const std::filesystem::path& path);

}  // namespace lorsa::io
