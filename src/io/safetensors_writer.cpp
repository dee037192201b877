#include <fcntl.h>

#include <algorithm>
#include <set>

#include "io/file_descriptor.h"
#include "io/safetensors_dtype.h"
#include "lorsa/core/error.h"
#include "lorsa/io/files.h"
#include "lorsa/io/json.h"
#include "lorsa/io/safetensors.h"

namespace lorsa::io {
namespace {

/// What of a MadeTensor is in memory at a time.
constexpr uint64_t kMadeBytes = uint64_t{16} << 20;

/// A tensor's line of the header.
struct Entry {
  std::string name;
  at::ScalarType dtype = at::kByte;
  std::vector<int64_t> shape;
  uint64_t bytes = 0;
};

std::vector<Entry> entries_of(const std::filesystem::path& path,
                              const NamedTensors& tensors,
                              const std::vector<MadeTensor>& made) {
  std::vector<Entry> entries;
  for (const auto& [name, tensor] : tensors) {
    LORSA_CHECK(tensor.defined(), FormatError,
                "{}: expected defined tensors, found \"{}\" (undefined)", path, name);
    entries.push_back({name, tensor.scalar_type(), tensor.sizes().vec(), tensor.nbytes()});
  }
  for (const MadeTensor& tensor : made) {
    const auto size = static_cast<uint64_t>(tensor.rows) * static_cast<uint64_t>(tensor.columns);
    entries.push_back({tensor.name,
                       tensor.dtype,
                       {tensor.rows, tensor.columns},
                       size * c10::elementSize(tensor.dtype)});
  }
  return entries;
}

std::string header_of(const std::filesystem::path& path,
                      const std::vector<Entry>& entries,
                      const std::map<std::string, std::string>& metadata) {
  Json header = Json::object();
  if (!metadata.empty()) {
    header["__metadata__"] = metadata;
  }
  std::set<std::string> seen;
  uint64_t offset = 0;
  for (const auto& [name, scalar_type, shape, bytes] : entries) {
    LORSA_CHECK(name != "__metadata__" && seen.insert(name).second, FormatError,
                "{}: expected names of their own, found \"{}\" (twice or reserved)", path, name);
    const auto dtype = name_of_dtype(scalar_type);
    LORSA_CHECK(dtype.has_value(), FormatError, "{}: tensor \"{}\": expected one of {}, found {}",
                path, name, known_dtype_names(), c10::toString(scalar_type));
    const uint64_t end = offset + bytes;
    header[name] = {{"dtype", *dtype}, {"shape", shape}, {"data_offsets", {offset, end}}};
    offset = end;
  }
  std::string text = header.dump();
  text.append((8 - text.size() % 8) % 8, ' ');
  return text;
}

void write_made(const FileDescriptor& file,
                const MadeTensor& tensor,
                const std::filesystem::path& path) {
  const uint64_t row_bytes = static_cast<uint64_t>(tensor.columns) * c10::elementSize(tensor.dtype);
  const auto step =
      static_cast<int64_t>(std::max<uint64_t>(1, kMadeBytes / std::max<uint64_t>(1, row_bytes)));
  for (int64_t first = 0; first < tensor.rows; first += step) {
    const int64_t count = std::min(step, tensor.rows - first);
    const at::Tensor rows = tensor.make(first, count).contiguous();
    LORSA_CHECK(rows.scalar_type() == tensor.dtype && rows.dim() == 2 && rows.size(0) == count &&
                    rows.size(1) == tensor.columns,
                ShapeError, "{}: tensor \"{}\": expected rows [{}, {}], made {}", path, tensor.name,
                count, tensor.columns, rows.sizes());
    write_all(file, rows.const_data_ptr(), rows.nbytes(), path);
  }
}

}  // namespace

void write_safetensors(const std::filesystem::path& path,
                       const NamedTensors& tensors,
                       const std::map<std::string, std::string>& metadata,
                       const std::vector<MadeTensor>& made) {
  const std::string header = header_of(path, entries_of(path, tensors, made), metadata);
  const uint64_t length = header.size();
  PendingFile pending(path);
  FileDescriptor file(pending.temporary_path(), O_WRONLY | O_CREAT | O_TRUNC);
  write_all(file, &length, sizeof(length), pending.temporary_path());
  write_all(file, header.data(), header.size(), pending.temporary_path());
  for (const auto& [name, tensor] : tensors) {
    const at::Tensor bytes = tensor.detach().to(at::kCPU).contiguous();
    write_all(file, bytes.const_data_ptr(), bytes.nbytes(), pending.temporary_path());
  }
  for (const MadeTensor& tensor : made) {
    write_made(file, tensor, pending.temporary_path());
  }
  file.close(pending.temporary_path());
  pending.commit();
}

}  // namespace lorsa::io
