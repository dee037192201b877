#include "io/safetensors_dtype.h"

#include <algorithm>
#include <array>

namespace lorsa::io {
namespace {

using c10::ScalarType;

// All of version 0.8 of the reference implementation.
constexpr std::array<SafetensorsDtype, 22> kDtypes = {{{"F64", 64, ScalarType::Double},
                                                       {"F32", 32, ScalarType::Float},
                                                       {"F16", 16, ScalarType::Half},
                                                       {"BF16", 16, ScalarType::BFloat16},
                                                       {"I64", 64, ScalarType::Long},
                                                       {"I32", 32, ScalarType::Int},
                                                       {"I16", 16, ScalarType::Short},
                                                       {"I8", 8, ScalarType::Char},
                                                       {"U8", 8, ScalarType::Byte},
                                                       {"BOOL", 8, ScalarType::Bool},
                                                       {"U64", 64},
                                                       {"U32", 32},
                                                       {"U16", 16},
                                                       {"C64", 64},
                                                       {"F8_E4M3", 8},
                                                       {"F8_E5M2", 8},
                                                       {"F8_E8M0", 8},
                                                       {"F8_E4M3FNUZ", 8},
                                                       {"F8_E5M2FNUZ", 8},
                                                       {"F6_E2M3", 6},
                                                       {"F6_E3M2", 6},
                                                       {"F4", 4}}};

}  // namespace

std::optional<SafetensorsDtype> dtype_of_name(std::string_view name) {
  const auto* found = std::find_if(kDtypes.begin(), kDtypes.end(),
                                   [&](const auto& dtype) { return dtype.name == name; });
  return found == kDtypes.end() ? std::nullopt : std::optional(*found);
}

std::optional<std::string> name_of_dtype(ScalarType dtype) {
  for (const SafetensorsDtype& known : kDtypes) {
    if (known.scalar == dtype && dtype != ScalarType::Undefined) {
      return std::string(known.name);
    }
  }
  return std::nullopt;
}

std::string known_dtype_names() {
  std::string names;
  for (const SafetensorsDtype& known : kDtypes) {
    if (known.scalar != ScalarType::Undefined) {
      names += names.empty() ? "" : " ";
      names += known.name;
    }
  }
  return names;
}

}  // namespace lorsa::io
