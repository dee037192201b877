#include "data/shard_format.h"

#include <fcntl.h>

#include <algorithm>
#include <charconv>
#include <string_view>

#include "lorsa/core/error.h"

namespace lorsa::data {
namespace {

constexpr std::array<const char*, kNumShardParts> kPartNames = {
    "tokens",      "scored",       "document", "heldout", "checksum",
    "input_scale", "target_scale", "input",    "target"};

/// What is read before it is hashed, so that the second finds it in the processor's cache: 74 % of
/// plain pread with 256 KiB, 70 % with 128 KiB, 58 % with 32 KiB (AMD EPYC, rows of 295 KiB,
/// 2026-11).
constexpr size_t kHashedBytes = size_t{256} << 10;

io::Hdf5Type hdf5_type(StoreDtype dtype) {
  switch (dtype) {
    case StoreDtype::kBFloat16:
      return io::Hdf5Type::kBFloat16;
    case StoreDtype::kFloat32:
      return io::Hdf5Type::kFloat32;
    case StoreDtype::kInt8:
      break;
  }
  return io::Hdf5Type::kInt8;
}

}  // namespace

std::string shard_file_name(size_t index) {
  std::string digits = std::to_string(index);
  digits.insert(0, digits.size() < 5 ? 5 - digits.size() : 0, '0');
  return "shard-" + digits + ".h5";
}

std::optional<int64_t> shard_index(const std::string& file_name) {
  constexpr std::string_view kPrefix = "shard-";
  constexpr std::string_view kSuffix = ".h5";
  if (file_name.size() < kPrefix.size() + kSuffix.size() + 5 || !file_name.starts_with(kPrefix) ||
      !file_name.ends_with(kSuffix)) {
    return std::nullopt;
  }
  int64_t index = 0;
  const char* first = file_name.data() + kPrefix.size();
  const char* last = file_name.data() + file_name.size() - kSuffix.size();
  const auto [end, error] = std::from_chars(first, last, index);
  const bool whole = error == std::errc() && end == last && index >= 0;
  return whole && shard_file_name(static_cast<size_t>(index)) == file_name
             ? std::optional<int64_t>(index)
             : std::nullopt;
}

c10::ScalarType scalar_type(StoreDtype dtype) {
  switch (dtype) {
    case StoreDtype::kBFloat16:
      return c10::ScalarType::BFloat16;
    case StoreDtype::kFloat32:
      return c10::ScalarType::Float;
    case StoreDtype::kInt8:
      break;
  }
  return c10::ScalarType::Char;
}

size_t num_row_sums(int64_t schema) {
  return schema == 1 ? kLabelSum : kNumRowSums;
}

std::vector<io::Hdf5Dataset> shard_datasets(const Manifest& manifest, int64_t num_rows) {
  using io::Hdf5Type;
  const int64_t length = manifest.context_length;
  const bool has_target = manifest.store == StoreMode::kInputAndTarget;
  const auto sums = static_cast<int64_t>(num_row_sums(manifest.schema));
  // The small ones first: metadata and they share the first blocks of the file.
  std::vector<io::Hdf5Dataset> datasets = {
      {kPartNames[kTokens], Hdf5Type::kInt32, {num_rows, length}},
      {kPartNames[kScored], Hdf5Type::kUInt8, {num_rows, length}},
      {kPartNames[kDocument], Hdf5Type::kInt64, {num_rows}},
      {kPartNames[kHeldout], Hdf5Type::kUInt8, {num_rows}},
      {kPartNames[kChecksum], Hdf5Type::kUInt64, {num_rows, sums}}};
  if (manifest.dtype == StoreDtype::kInt8) {
    datasets.push_back({kPartNames[kInputScale], Hdf5Type::kFloat32, {num_rows, length}});
    if (has_target) {
      datasets.push_back({kPartNames[kTargetScale], Hdf5Type::kFloat32, {num_rows, length}});
    }
  }
  const Hdf5Type stored = hdf5_type(manifest.dtype);
  datasets.push_back({kPartNames[kInput], stored, {num_rows, length, manifest.d_model}});
  if (has_target) {
    datasets.push_back({kPartNames[kTarget], stored, {num_rows, length, manifest.d_model}});
  }
  return datasets;
}

const io::Hdf5Dataset* find_part(const std::vector<io::Hdf5Dataset>& datasets, ShardPart part) {
  const auto found = std::find_if(datasets.begin(), datasets.end(),
                                  [&](const auto& one) { return one.name == kPartNames[part]; });
  return found == datasets.end() ? nullptr : &*found;
}

ShardFile::ShardFile(const std::filesystem::path& path, const Manifest& manifest, int64_t num_rows)
    : path_(path),
      num_rows_(num_rows),
      datasets_(io::locate_hdf5_datasets(path, shard_datasets(manifest, num_rows), kShardMark)) {
  for (size_t part = 0; part < kNumShardParts; ++part) {
    const io::Hdf5Dataset* found = find_part(datasets_, static_cast<ShardPart>(part));
    if (found != nullptr) {
      first_byte_[part] = found->offset;
      row_bytes_[part] = static_cast<size_t>(found->bytes()) / static_cast<size_t>(num_rows);
    }
  }
}

io::FileDescriptor ShardFile::open() const {
  return io::FileDescriptor(path_, O_RDONLY);
}

// In the reader's hot path: nothing is built for the message of an error that does not happen.
void ShardFile::read_bytes(const io::FileDescriptor& file,
                           ShardPart part,
                           uint64_t offset,
                           size_t size,
                           void* destination) const {
  const size_t found = io::pread_all(file, destination, size, offset, path_);
  if (found != size) {
    const uint64_t row = (offset + found - first_byte_[part]) / row_bytes_[part];
    io::fail_cut(path_, formatted("/{}: row {}", kPartNames[part], row), size, offset, found);
  }
}

void ShardFile::read(const io::FileDescriptor& file,
                     ShardPart part,
                     int64_t row,
                     int64_t count,
                     void* destination) const {
  const size_t size = row_bytes(part) * static_cast<size_t>(count);
  read_bytes(file, part, offset(part, row), size, destination);
}

void ShardFile::read_hashed(const io::FileDescriptor& file,
                            ShardPart part,
                            int64_t row,
                            int64_t count,
                            void* destination,
                            io::Xxh3& hash) const {
  auto* bytes = static_cast<char*>(destination);
  const size_t size = row_bytes(part) * static_cast<size_t>(count);
  for (size_t done = 0; done < size; done += kHashedBytes) {
    const size_t now = std::min(kHashedBytes, size - done);
    read_bytes(file, part, offset(part, row) + done, now, bytes + done);
    hash.update(bytes + done, now);
  }
}

std::string structure_checksum(const io::FileDescriptor& file,
                               const std::filesystem::path& path,
                               const std::vector<io::Hdf5Dataset>& datasets) {
  std::vector<std::pair<uint64_t, uint64_t>> rows;  // ranges of the file that belong to rows
  for (const io::Hdf5Dataset& dataset : datasets) {
    if (dataset.name != kPartNames[kChecksum]) {
      rows.emplace_back(dataset.offset, dataset.offset + dataset.bytes());
    }
  }
  std::sort(rows.begin(), rows.end());
  const uint64_t size = file.size(path);
  rows.emplace_back(size, size);
  io::Xxh3 hash;
  std::vector<char> buffer;
  uint64_t done = 0;
  for (const auto& [begin, end] : rows) {
    if (begin > done) {
      buffer.resize(begin - done);
      io::pread_exact(file, buffer.data(), buffer.size(), done, path, "HDF5 structures");
      hash.update(buffer.data(), buffer.size());
    }
    done = std::max(done, end);
  }
  return io::xxh3_text(hash.digest());
}

}  // namespace lorsa::data
