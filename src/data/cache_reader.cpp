#include "lorsa/data/cache_reader.h"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <optional>
#include <utility>

#include "data/attention_file.h"
#include "data/int8_rows.h"
#include "data/shard_format.h"
#include "io/file_descriptor.h"
#include "lorsa/core/error.h"
#include "lorsa/io/checksum.h"

namespace lorsa::data {
namespace {

/// Files of shards kept open, well below the usual limit of 1024 a process; further ones are opened
/// for each row, which costs 3 us.
constexpr size_t kMaxOpenFiles = 512;

Manifest finished_manifest(const std::filesystem::path& folder) {
  Manifest manifest = read_manifest(folder);
  LORSA_CHECK(manifest.complete, FormatError,
              "{}: expected a complete cache, found an unfinished one with {} rows: run the "
              "extraction again to finish it",
              (folder / kManifestFile), manifest.num_rows);
  return manifest;
}

/// The bytes of row `slot` in a tensor whose first dimension counts rows.
char* row_data(const at::Tensor& tensor, int64_t slot) {
  const size_t bytes = tensor.nbytes() / static_cast<size_t>(tensor.size(0));
  return static_cast<char*>(tensor.mutable_data_ptr()) + bytes * static_cast<size_t>(slot);
}

}  // namespace

struct CacheReader::Impl {
  explicit Impl(const std::filesystem::path& cache_folder)
      : folder(cache_folder),
        manifest(finished_manifest(folder)),
        attention(manifest.attention ? std::optional(load_attention(folder, manifest))
                                     : std::nullopt),
        num_sums(num_row_sums(manifest.schema)) {
    for (const ShardInfo& info : manifest.shards) {
      first_row.push_back(static_cast<int64_t>(heldout.size()));
      add_shard(info);
    }
    for (size_t row = 0; row < heldout.size(); ++row) {
      const auto number = static_cast<int64_t>(row);
      (heldout[row] != 0 ? heldout_rows : training_rows).push_back(number);
      all_rows.push_back(number);
    }
    checked = std::make_unique<std::atomic<bool>[]>(heldout.size());
  }

  // What is small per row is read once; the rest stays on the disk.
  void add_shard(const ShardInfo& info) {
    const ShardFile& shard = shards.emplace_back(folder / info.file, manifest, info.num_rows);
    io::FileDescriptor file = shard.open();
    const size_t before = heldout.size();
    const size_t after = before + static_cast<size_t>(info.num_rows);
    heldout.resize(after);
    document.resize(after);
    checksum.resize(num_sums * after);
    shard.read(file, kHeldout, 0, info.num_rows, heldout.data() + before);
    shard.read(file, kDocument, 0, info.num_rows, document.data() + before);
    shard.read(file, kChecksum, 0, info.num_rows, checksum.data() + num_sums * before);
    for (size_t row = before; row < after; ++row) {
      LORSA_CHECK(heldout[row] <= 1, FormatError, "{}: /heldout: row {}: expected 0 or 1, found {}",
                  shard.path(), row - before, static_cast<int>(heldout[row]));
    }
    if (files.size() < kMaxOpenFiles) {
      files.push_back(std::move(file));
    }
  }

  [[nodiscard]] Batch make_batch(int64_t count, BatchMemory memory, BatchForm form) const {
    const int64_t length = manifest.context_length;
    const auto make = [&](at::IntArrayRef shape, at::ScalarType dtype) {
      return at::empty(shape, at::dtype(dtype).pinned_memory(memory == BatchMemory::kPinned));
    };
    const at::ScalarType stored = scalar_type(manifest.dtype);
    const bool scales = stored == at::kChar && form == BatchForm::kStored;
    const at::ScalarType seen = stored == at::kChar && !scales ? at::kFloat : stored;
    const auto make_activations = [&](at::Tensor& values_BTD, at::Tensor& scale_BT) {
      values_BTD = make({count, length, manifest.d_model}, seen);
      if (scales) {
        scale_BT = make({count, length}, at::kFloat);
      }
    };
    Batch batch;
    make_activations(batch.input_BTD, batch.input_scale_BT);
    if (manifest.store == StoreMode::kInputAndTarget) {
      make_activations(batch.target_BTD, batch.target_scale_BT);
    }
    batch.tokens_BT = make({count, length}, at::kInt);
    batch.scored_BT = make({count, length}, at::kBool);
    batch.heldout_B = make({count}, at::kBool);
    batch.document_B = make({count}, at::kLong);
    return batch;
  }

  /// One row being read.
  struct Place {
    size_t row;
    int64_t slot;
    const ShardFile& shard;
    const io::FileDescriptor& file;
    int64_t local;  ///< number of the row in its shard
    bool check;     ///< its checksums too
  };

  void read_row(int64_t row, int64_t slot, Batch& batch) const {
    const auto above = std::upper_bound(first_row.begin(), first_row.end(), row);
    const auto index = static_cast<size_t>(above - first_row.begin()) - 1;
    const ShardFile& shard = shards[index];
    io::FileDescriptor opened;
    if (index >= files.size()) {
      opened = shard.open();
    }
    const auto at_row = static_cast<size_t>(row);
    const Place place{at_row,
                      slot,
                      shard,
                      index < files.size() ? files[index] : opened,
                      row - first_row[index],
                      !checked[at_row].load(std::memory_order_relaxed)};
    read_activation(place, kInput, kInputSum, batch.input_BTD, batch.input_scale_BT);
    if (manifest.store == StoreMode::kInputAndTarget) {
      read_activation(place, kTarget, kTargetSum, batch.target_BTD, batch.target_scale_BT);
    }
    read_labels(place, batch);
    checked[at_row].store(true, std::memory_order_relaxed);
  }

  void check_sum(const Place& place, RowSum which, const io::Xxh3& hash, const char* what) const {
    LORSA_CHECK(
        hash.digest() == checksum[num_sums * place.row + which], FormatError,
        "{}: {}: row {}: expected the bytes of its checksum, found others (run lorsa-cache verify)",
        place.shard.path(), what, place.local);
  }

  void read_activation(const Place& place,
                       ShardPart part,
                       RowSum which,
                       const at::Tensor& values_BTD,
                       const at::Tensor& scale_BT) const {
    std::optional<io::Xxh3> hash;
    if (place.check) {
      hash.emplace();
    }
    const auto read = [&](ShardPart what, void* data) {
      if (hash) {
        place.shard.read_hashed(place.file, what, place.local, 1, data, *hash);
      } else {
        place.shard.read(place.file, what, place.local, 1, data);
      }
    };
    char* data = row_data(values_BTD, place.slot);
    const ShardPart scale_part = part == kInput ? kInputScale : kTargetScale;
    if (manifest.dtype != StoreDtype::kInt8) {
      read(part, data);
    } else if (scale_BT.defined()) {
      read(part, data);
      read(scale_part, row_data(scale_BT, place.slot));
    } else {
      const auto length = static_cast<size_t>(manifest.context_length);
      const auto width = static_cast<size_t>(manifest.d_model);
      std::vector<int8_t> stored(length * width);
      std::vector<float> scale(length);
      read(part, stored.data());
      read(scale_part, scale.data());
      for (size_t t = 0; t < length; ++t) {
        dequantize_int8(stored.data() + t * width, scale[t], manifest.d_model,
                        reinterpret_cast<float*>(data) + t * width);
      }
    }
    if (hash) {
      check_sum(place, which, *hash, which == kInputSum ? "/input" : "/target");
    }
  }

  void read_labels(const Place& place, Batch& batch) const {
    const auto read = [&](ShardPart part, const at::Tensor& tensor) {
      char* data = row_data(tensor, place.slot);
      place.shard.read(place.file, part, place.local, 1, data);
      return std::pair<const char*, size_t>(data, place.shard.row_bytes(part));
    };
    const auto [tokens, token_bytes] = read(kTokens, batch.tokens_BT);
    const auto [scored, length] = read(kScored, batch.scored_BT);
    // Any other byte in a bool is undefined behaviour.
    LORSA_CHECK(std::all_of(scored, scored + length, [](char one) { return one == 0 || one == 1; }),
                FormatError, "{}: /scored: row {}: expected zeros and ones, found another value",
                place.shard.path(), place.local);
    if (place.check && num_sums > kLabelSum) {
      io::Xxh3 hash;
      hash.update(tokens, token_bytes);
      hash.update(scored, length);
      hash.update(&document[place.row], sizeof(int64_t));
      hash.update(&heldout[place.row], sizeof(uint8_t));
      check_sum(place, kLabelSum, hash, "/tokens, /scored, /document or /heldout");
    }
    batch.heldout_B.mutable_data_ptr<bool>()[place.slot] = heldout[place.row] != 0;
    batch.document_B.mutable_data_ptr<int64_t>()[place.slot] = document[place.row];
  }

  std::filesystem::path folder;
  Manifest manifest;
  std::optional<kernels::Mhsa> attention;
  size_t num_sums;
  std::vector<ShardFile> shards;
  std::vector<io::FileDescriptor> files;  // of the first shards
  std::vector<int64_t> first_row;         // of each shard
  std::vector<uint8_t> heldout;
  std::vector<int64_t> document;
  std::vector<uint64_t> checksum;
  std::unique_ptr<std::atomic<bool>[]> checked;  // by row: read and sound
  std::vector<int64_t> training_rows, heldout_rows, all_rows;
};

CacheReader::CacheReader(const std::filesystem::path& folder)
    : impl_(std::make_unique<Impl>(folder)) {}

CacheReader::~CacheReader() = default;
CacheReader::CacheReader(CacheReader&&) noexcept = default;
CacheReader& CacheReader::operator=(CacheReader&&) noexcept = default;

const Manifest& CacheReader::manifest() const {
  return impl_->manifest;
}

const std::filesystem::path& CacheReader::folder() const {
  return impl_->folder;
}

const std::vector<int64_t>& CacheReader::rows(Side side) const {
  switch (side) {
    case Side::kTraining:
      return impl_->training_rows;
    case Side::kHeldout:
      return impl_->heldout_rows;
    case Side::kAll:
      break;
  }
  return impl_->all_rows;
}

Batch CacheReader::make_batch(int64_t num_rows, BatchMemory memory, BatchForm form) const {
  return impl_->make_batch(num_rows, memory, form);
}

Batch CacheReader::read(const std::vector<int64_t>& rows) const {
  Batch batch = impl_->make_batch(static_cast<int64_t>(rows.size()), BatchMemory::kPageable,
                                  BatchForm::kReady);
  read_into(rows, batch, BatchForm::kReady);
  return batch;
}

void CacheReader::read_into(const std::vector<int64_t>& rows, Batch& batch, BatchForm form) const {
  LORSA_CHECK(batch.tokens_BT.size(0) == static_cast<int64_t>(rows.size()), ShapeError,
              "batch: expected {} rows, found {}", rows.size(), batch.tokens_BT.size(0));
  for (const int64_t row : rows) {
    LORSA_CHECK(row >= 0 && row < impl_->manifest.num_rows, FormatError,
                "{}: expected a row below {}, found {}", impl_->folder, impl_->manifest.num_rows,
                row);
  }
  batch.rows = rows;
  for (size_t slot = 0; slot < rows.size(); ++slot) {
    impl_->read_row(rows[slot], static_cast<int64_t>(slot), batch);
  }
  if (impl_->manifest.store == StoreMode::kInput && form == BatchForm::kReady) {
    batch.target_BTD = kernels::mhsa_forward(*impl_->attention, batch.input_BTD.to(at::kFloat));
  }
}

const kernels::Mhsa* CacheReader::find_attention() const {
  return impl_->attention ? &*impl_->attention : nullptr;
}

const kernels::Mhsa& CacheReader::attention() const {
  LORSA_CHECK(impl_->attention, ConfigError, "{} is a cache of {}: there is no attention in it",
              impl_->folder, to_string(impl_->manifest.site));
  return *impl_->attention;
}

}  // namespace lorsa::data
