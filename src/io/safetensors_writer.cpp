#include <fcntl.h>

#include <cstring>
#include <set>

#include "io/file_descriptor.h"
#include "io/safetensors_dtype.h"
#include "lorsa/core/error.h"
#include "lorsa/io/files.h"
#include "lorsa/io/json.h"
#include "lorsa/io/safetensors.h"

namespace lorsa::io {
namespace {

std::string header_of(const std::filesystem::path& path,
                      const NamedTensors& tensors,
                      const std::map<std::string, std::string>& metadata) {
  Json header = Json::object();
  if (!metadata.empty()) {
    header["__metadata__"] = metadata;
  }
  std::set<std::string> seen;
  uint64_t offset = 0;
  for (const auto& [name, tensor] : tensors) {
    LORSA_CHECK(tensor.defined() && name != "__metadata__" && seen.insert(name).second,
                FormatError,
                path.string(),
                ": expected defined tensors with names of their own, found \"",
                name,
                tensor.defined() ? "\" (twice or reserved)" : "\" (undefined)");
    const auto dtype = name_of_dtype(tensor.scalar_type());
    LORSA_CHECK(dtype.has_value(),
                FormatError,
                path.string(),
                ": tensor \"",
                name,
                "\": expected one of ",
                known_dtype_names(),
                ", found ",
                c10::toString(tensor.scalar_type()));
    const uint64_t end = offset + tensor.nbytes();
    header[name] = {
        {"dtype", *dtype}, {"shape", tensor.sizes().vec()}, {"data_offsets", {offset, end}}};
    offset = end;
  }
  std::string text = header.dump();
  text.append((8 - text.size() % 8) % 8, ' ');
  return text;
}

}  // namespace

void write_safetensors(const std::filesystem::path& path,
                       const NamedTensors& tensors,
                       const std::map<std::string, std::string>& metadata) {
  const std::string header = header_of(path, tensors, metadata);
  const uint64_t length = header.size();
  PendingFile pending(path);
  FileDescriptor file(pending.temporary_path(), O_WRONLY | O_CREAT | O_TRUNC);
  write_all(file, &length, sizeof(length), pending.temporary_path());
  write_all(file, header.data(), header.size(), pending.temporary_path());
  for (const auto& [name, tensor] : tensors) {
    const at::Tensor bytes = tensor.detach().to(at::kCPU).contiguous();
    write_all(file, bytes.const_data_ptr(), bytes.nbytes(), pending.temporary_path());
  }
  file.close(pending.temporary_path());
  pending.commit();
}

}  // namespace lorsa::io
