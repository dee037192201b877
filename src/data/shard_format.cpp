#include "data/shard_format.h"

#include <fcntl.h>

#include <algorithm>
#include <cctype>

#include "lorsa/core/error.h"

namespace lorsa::data {

std::string shard_file_name(size_t index) {
  std::string digits = std::to_string(index);
  digits.insert(0, digits.size() < 5 ? 5 - digits.size() : 0, '0');
  return "shard-" + digits + ".h5";
}

bool is_shard_file_name(const std::string& name) {
  constexpr size_t kPrefix = 6;
  constexpr size_t kSuffix = 3;
  if (name.size() < kPrefix + kSuffix + 5 || !name.starts_with("shard-") ||
      !name.ends_with(".h5")) {
    return false;
  }
  return std::all_of(name.begin() + kPrefix, name.end() - kSuffix, [](char letter) {
    return letter >= '0' && letter <= '9';
  });
}

c10::ScalarType scalar_type(StoreDtype dtype) {
  return dtype == StoreDtype::kBFloat16 ? c10::ScalarType::BFloat16 : c10::ScalarType::Float;
}

std::vector<io::Hdf5Dataset> shard_datasets(const Manifest& manifest, int64_t num_rows) {
  using io::Hdf5Type;
  const int64_t length = manifest.context_length;
  const Hdf5Type stored =
      manifest.dtype == StoreDtype::kBFloat16 ? Hdf5Type::kBFloat16 : Hdf5Type::kFloat32;
  // The small ones first: metadata and they share the first blocks of the file.
  std::vector<io::Hdf5Dataset> datasets = {{"tokens", Hdf5Type::kInt32, {num_rows, length}},
                                           {"scored", Hdf5Type::kUInt8, {num_rows, length}},
                                           {"document", Hdf5Type::kInt64, {num_rows}},
                                           {"heldout", Hdf5Type::kUInt8, {num_rows}},
                                           {"checksum", Hdf5Type::kUInt64, {num_rows, 2}},
                                           {"input", stored, {num_rows, length, manifest.d_model}}};
  if (manifest.store == StoreMode::kInputAndTarget) {
    datasets.push_back({"target", stored, {num_rows, length, manifest.d_model}});
  }
  return datasets;
}

ShardFile::ShardFile(const std::filesystem::path& path, const Manifest& manifest, int64_t num_rows)
    : path_(path),
      num_rows_(num_rows),
      datasets_(io::locate_hdf5_datasets(path, shard_datasets(manifest, num_rows), kShardMark)) {}

io::FileDescriptor ShardFile::open() const {
  return io::FileDescriptor(path_, O_RDONLY);
}

size_t ShardFile::row_bytes(ShardPart part) const {
  return static_cast<size_t>(datasets_.at(part).bytes()) / static_cast<size_t>(num_rows_);
}

void ShardFile::read(const io::FileDescriptor& file,
                     ShardPart part,
                     int64_t row,
                     int64_t count,
                     void* destination) const {
  const size_t bytes = row_bytes(part);
  io::pread_exact(file,
                  destination,
                  bytes * static_cast<size_t>(count),
                  datasets_.at(part).offset + bytes * static_cast<size_t>(row),
                  path_,
                  concat("/", datasets_.at(part).name, " from row ", row, " on"));
}

}  // namespace lorsa::data
