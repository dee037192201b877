#include "io/hdf5_library.h"

namespace lorsa::io {
namespace {

herr_t keep_first(unsigned /*depth*/, const H5E_error2_t* error, void* text) {
  auto& kept = *static_cast<std::string*>(text);
  if (kept.empty() && error->desc != nullptr) {
    kept = error->desc;
  }
  return 0;
}

}  // namespace

std::string hdf5_message() {
  std::string text;
  if (H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, &keep_first, &text) < 0 || text.empty()) {
    return "no message";
  }
  return text;
}

size_t item_bytes(Hdf5Type type) {
  switch (type) {
    case Hdf5Type::kInt8:
    case Hdf5Type::kUInt8:
      return 1;
    case Hdf5Type::kBFloat16:
      return 2;
    case Hdf5Type::kFloat32:
    case Hdf5Type::kInt32:
      return 4;
    case Hdf5Type::kInt64:
    case Hdf5Type::kUInt64:
      return 8;
  }
  return 0;
}

uint64_t Hdf5Dataset::bytes() const {
  uint64_t product = item_bytes(type);
  for (const int64_t size : shape) {
    product *= static_cast<uint64_t>(size);
  }
  return product;
}

}  // namespace lorsa::io
