#include "io/safetensors_dtype.h"

#include <array>
#include <utility>

namespace lorsa::io {
namespace {

using Entry = std::pair<std::string_view, c10::ScalarType>;

constexpr std::array<Entry, 10> kDtypes = {{{"F64", c10::ScalarType::Double},
                                            {"F32", c10::ScalarType::Float},
                                            {"F16", c10::ScalarType::Half},
                                            {"BF16", c10::ScalarType::BFloat16},
                                            {"I64", c10::ScalarType::Long},
                                            {"I32", c10::ScalarType::Int},
                                            {"I16", c10::ScalarType::Short},
                                            {"I8", c10::ScalarType::Char},
                                            {"U8", c10::ScalarType::Byte},
                                            {"BOOL", c10::ScalarType::Bool}}};

}  // namespace

std::optional<c10::ScalarType> dtype_of_name(std::string_view name) {
  for (const auto& [known, dtype] : kDtypes) {
    if (known == name) {
      return dtype;
    }
  }
  return std::nullopt;
}

std::optional<std::string> name_of_dtype(c10::ScalarType dtype) {
  for (const auto& [name, known] : kDtypes) {
    if (known == dtype) {
      return std::string(name);
    }
  }
  return std::nullopt;
}

std::string known_dtype_names() {
  std::string names;
  for (const auto& [name, unused] : kDtypes) {
    names += names.empty() ? "" : " ";
    names += name;
  }
  return names;
}

}  // namespace lorsa::io
