#include "model/torch_archive.h"

#include <ATen/ATen.h>
#include <fcntl.h>

#include <algorithm>
#include <cstring>
#include <map>

#include "core/file_content.h"
#include "io/file_descriptor.h"
#include "lorsa/core/error.h"
#include "model/pickle_filter.h"
#include "torch_private/archive.h"

namespace lorsa::model {
namespace {

using torch_private::Archive;

constexpr const char* kPickle = "data.pkl";
constexpr const char* kByteOrder = "byteorder";

std::string first_line(const std::string& text) {
  return text.substr(0, text.find('\n'));
}

void check_is_zip(const std::filesystem::path& path) {
  constexpr const char* kExpected = "a zip archive, as torch.save writes since PyTorch 1.6";
  refuse_unfinished_download(path);
  const io::FileDescriptor file(path, O_RDONLY);
  static_cast<void>(file.size(path));
  refuse_other_content(path, kExpected, {Content::kTorchZip, Content::kZip});
  char magic[4] = {};
  LORSA_CHECK(io::pread_all(file, magic, sizeof(magic), 0, path) == sizeof(magic) &&
                  std::memcmp(magic, "PK\x03\x04", sizeof(magic)) == 0,
              FormatError, "{}: expected {}, found other bytes", path, kExpected);
}

std::string record_text(Archive& archive, const char* name) {
  const auto [data, size] = archive.record(name);
  return {static_cast<const char*>(data.get()), size};
}

/// Where the storages lie that were read, and how many bytes each has.
using StorageSizes = std::map<const void*, size_t>;

c10::IValue unpickle(Archive& archive, StorageSizes& sizes) {
  return torch_private::unpickle(with_plain_dicts(record_text(archive, kPickle)),
                                 [&](const std::string& name) {
                                   auto [data, size] = archive.record("data/" + name);
                                   sizes[data.get()] = size;
                                   return std::move(data);
                                 });
}

/// The dict of with_plain_dicts()'s (dict, attributes).
c10::IValue without_attributes(const c10::IValue& value) {
  return value.isTuple() && value.toTupleRef().elements().size() == 2
             ? value.toTupleRef().elements()[0]
             : value;
}

/// LibTorch takes the pickle's word for where a tensor lies in its storage and for the storage's
/// size: neither may reach past the record.
void check_extent(const std::string& name, const at::Tensor& tensor, const StorageSizes& sizes) {
  LORSA_CHECK(tensor.layout() == at::kStrided && !tensor.is_quantized(), FormatError,
              "tensor \"{}\": expected a dense tensor, found another layout", name);
  const auto negative = [](int64_t value) { return value < 0; };
  LORSA_CHECK(tensor.storage_offset() >= 0 &&
                  std::none_of(tensor.sizes().begin(), tensor.sizes().end(), negative) &&
                  std::none_of(tensor.strides().begin(), tensor.strides().end(), negative),
              FormatError,
              "tensor \"{}\": expected sizes, strides and offset of at least 0, found {}, {} and "
              "{} (a damaged file)",
              name, tensor.sizes(), tensor.strides(), tensor.storage_offset());
  if (tensor.numel() == 0) {
    return;
  }
  const auto stored = sizes.find(tensor.storage().data());
  const size_t found = stored == sizes.end() ? 0 : stored->second;
  const size_t needed = torch_private::bytes_reached(tensor);
  LORSA_CHECK(needed <= found && tensor.storage().nbytes() <= found, FormatError,
              "tensor \"{}\": expected a record of {} bytes, found {} (a damaged file)", name,
              std::max(needed, tensor.storage().nbytes()), found);
}

io::NamedTensors tensors_of(const c10::IValue& value, const StorageSizes& sizes) {
  LORSA_CHECK(value.isGenericDict(), FormatError, "expected a dictionary of tensors, not a {}",
              value.tagKind());
  io::NamedTensors tensors;
  for (const auto& entry : value.toGenericDict()) {
    LORSA_CHECK(entry.key().isString() && entry.value().isTensor(), FormatError,
                "expected names with tensors, found {}, {}", entry.key().tagKind(),
                entry.value().tagKind());
    const std::string name = entry.key().toStringRef();
    const at::Tensor tensor = entry.value().toTensor();
    check_extent(name, tensor, sizes);
    tensors.emplace_back(name, tensor);
  }
  return tensors;
}

}  // namespace

io::NamedTensors read_torch_state_dict(const std::filesystem::path& path) {
  check_is_zip(path);
  try {
    Archive archive(path.string());
    if (archive.has(kByteOrder)) {
      const std::string order = record_text(archive, kByteOrder);
      LORSA_CHECK(order == "little", FormatError, "byteorder: expected little, found {}", order);
    }
    StorageSizes sizes;
    const c10::IValue value = without_attributes(unpickle(archive, sizes));
    return tensors_of(value, sizes);
  } catch (const FormatError& error) {
    throw FormatError(formatted("{}: {}", path, error.what()));
  } catch (const c10::Error& error) {
    throw FormatError(
        formatted("{}: expected a state dict as torch.save writes it; LibTorch found: {}", path,
                  first_line(error.what_without_backtrace())));
  } catch (const std::exception& error) {
    // Damaged pickles also end in the standard library's own exceptions.
    throw FormatError(
        formatted("{}: expected a state dict as torch.save writes it; LibTorch found: {}", path,
                  first_line(error.what())));
  }
}

}  // namespace lorsa::model
