#include "lorsa/data/cache_reader.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>

#include <algorithm>
#include <utility>

#include "data/attention_file.h"
#include "data/shard_format.h"
#include "io/file_descriptor.h"
#include "lorsa/core/error.h"
#include "lorsa/io/checksum.h"

namespace lorsa::data {
namespace {

Manifest finished_manifest(const std::filesystem::path& folder) {
  Manifest manifest = read_manifest(folder);
  LORSA_CHECK(manifest.complete,
              FormatError,
              (folder / kManifestFile).string(),
              ": expected a complete cache, found an unfinished one with ",
              manifest.num_rows,
              " rows: run the extraction again to finish it");
  return manifest;
}

}  // namespace

struct CacheReader::Impl {
  explicit Impl(const std::filesystem::path& cache_folder)
      : folder(cache_folder),
        manifest(finished_manifest(folder)),
        attention(load_attention(folder, manifest)) {
    for (const ShardInfo& info : manifest.shards) {
      first_row.push_back(static_cast<int64_t>(heldout.size()));
      add_shard(info);
    }
    for (size_t row = 0; row < heldout.size(); ++row) {
      const auto number = static_cast<int64_t>(row);
      (heldout[row] != 0 ? heldout_rows : training_rows).push_back(number);
      all_rows.push_back(number);
    }
  }

  // What is small per row is read once; the rest stays on the disk.
  void add_shard(const ShardInfo& info) {
    const ShardFile& shard = shards.emplace_back(folder / info.file, manifest, info.num_rows);
    const io::FileDescriptor file = shard.open();
    const size_t before = heldout.size();
    const size_t after = before + static_cast<size_t>(info.num_rows);
    heldout.resize(after);
    document.resize(after);
    checksum.resize(2 * after);
    shard.read(file, kHeldout, 0, info.num_rows, heldout.data() + before);
    shard.read(file, kDocument, 0, info.num_rows, document.data() + before);
    shard.read(file, kChecksum, 0, info.num_rows, checksum.data() + 2 * before);
    for (size_t row = before; row < after; ++row) {
      LORSA_CHECK(heldout[row] <= 1,
                  FormatError,
                  shard.path().string(),
                  ": /heldout: row ",
                  row - before,
                  ": expected 0 or 1, found ",
                  static_cast<int>(heldout[row]));
    }
  }

  [[nodiscard]] Batch empty_batch(const std::vector<int64_t>& rows) const {
    const auto count = static_cast<int64_t>(rows.size());
    const int64_t length = manifest.context_length;
    Batch batch;
    batch.input_BTD =
        at::empty({count, length, manifest.d_model}, at::dtype(scalar_type(manifest.dtype)));
    if (manifest.store == StoreMode::kInputAndTarget) {
      batch.target_BTD = at::empty_like(batch.input_BTD);
    }
    batch.tokens_BT = at::empty({count, length}, at::dtype(at::kInt));
    batch.scored_BT = at::empty({count, length}, at::dtype(at::kBool));
    batch.heldout_B = at::empty({count}, at::dtype(at::kBool));
    batch.document_B = at::empty({count}, at::dtype(at::kLong));
    batch.rows = rows;
    return batch;
  }

  void read_row(int64_t row, int64_t slot, Batch& batch) const {
    const auto above = std::upper_bound(first_row.begin(), first_row.end(), row);
    const auto index = static_cast<size_t>(above - first_row.begin()) - 1;
    const ShardFile& shard = shards[index];
    const int64_t local = row - first_row[index];
    const io::FileDescriptor file = shard.open();
    const auto read_part = [&](ShardPart part, const at::Tensor& tensor) {
      const size_t bytes = shard.row_bytes(part);
      char* data =
          static_cast<char*>(tensor.mutable_data_ptr()) + bytes * static_cast<size_t>(slot);
      shard.read(file, part, local, 1, data);
      return std::pair<const char*, size_t>(data, bytes);
    };
    const auto read_activation = [&](ShardPart part, const at::Tensor& tensor) {
      const auto [data, bytes] = read_part(part, tensor);
      const uint64_t expected =
          checksum[2 * static_cast<size_t>(row) + static_cast<size_t>(part == kTarget)];
      LORSA_CHECK(io::xxh3(data, bytes) == expected,
                  FormatError,
                  shard.path().string(),
                  part == kTarget ? ": /target: row " : ": /input: row ",
                  local,
                  ": expected the bytes of its checksum, found others (run lorsa-cache verify)");
    };
    read_activation(kInput, batch.input_BTD);
    if (batch.target_BTD.defined()) {
      read_activation(kTarget, batch.target_BTD);
    }
    read_part(kTokens, batch.tokens_BT);
    const auto [scored, length] = read_part(kScored, batch.scored_BT);
    // Any other byte in a bool is undefined behaviour.
    LORSA_CHECK(std::all_of(scored, scored + length, [](char one) { return one == 0 || one == 1; }),
                FormatError,
                shard.path().string(),
                ": /scored: row ",
                local,
                ": expected zeros and ones, found another value");
    batch.heldout_B.mutable_data_ptr<bool>()[slot] = heldout[static_cast<size_t>(row)] != 0;
    batch.document_B.mutable_data_ptr<int64_t>()[slot] = document[static_cast<size_t>(row)];
  }

  std::filesystem::path folder;
  Manifest manifest;
  kernels::Mhsa attention;
  std::vector<ShardFile> shards;
  std::vector<int64_t> first_row;  // of each shard
  std::vector<uint8_t> heldout;
  std::vector<int64_t> document;
  std::vector<uint64_t> checksum;
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

Batch CacheReader::read(const std::vector<int64_t>& rows) const {
  for (const int64_t row : rows) {
    LORSA_CHECK(row >= 0 && row < impl_->manifest.num_rows,
                FormatError,
                impl_->folder.string(),
                ": expected a row in [0, ",
                impl_->manifest.num_rows,
                "), found ",
                row);
  }
  Batch batch = impl_->empty_batch(rows);
  for (size_t slot = 0; slot < rows.size(); ++slot) {
    impl_->read_row(rows[slot], static_cast<int64_t>(slot), batch);
  }
  if (!batch.target_BTD.defined()) {
    batch.target_BTD = kernels::mhsa_forward(impl_->attention, batch.input_BTD.to(at::kFloat));
  }
  return batch;
}

const kernels::Mhsa& CacheReader::attention() const {
  return impl_->attention;
}

}  // namespace lorsa::data
