#include "data/shard_writer.h"

#include <fcntl.h>

#include <algorithm>
#include <string>

#include "data/shard_format.h"
#include "lorsa/core/error.h"

namespace lorsa::data {
namespace {

void copy_bytes(const io::FileDescriptor& from,
                uint64_t from_offset,
                const std::filesystem::path& from_path,
                const io::FileDescriptor& to,
                uint64_t to_offset,
                const std::filesystem::path& to_path,
                uint64_t size) {
  std::vector<char> block(size_t{4} << 20);
  for (uint64_t done = 0; done < size; done += block.size()) {
    const size_t part = static_cast<size_t>(std::min<uint64_t>(block.size(), size - done));
    io::pread_exact(from, block.data(), part, from_offset + done, from_path, "a shard to shorten");
    io::pwrite_all(to, block.data(), part, to_offset + done, to_path);
  }
}

}  // namespace

ShardWriter::ShardWriter(const std::filesystem::path& path,
                         const Manifest& manifest,
                         int64_t capacity)
    : path_(path),
      manifest_(manifest),
      capacity_(capacity),
      pending_(path),
      layout_(io::create_hdf5_file(
          pending_.temporary_path(), shard_datasets(manifest, capacity), kShardMark)),
      file_(pending_.temporary_path(), O_RDWR) {}

void ShardWriter::write(const void* data, size_t bytes_per_row, ShardPart part, int64_t count) {
  const uint64_t offset =
      find_part(layout_.datasets, part)->offset + bytes_per_row * static_cast<uint64_t>(num_rows_);
  const size_t size = bytes_per_row * static_cast<size_t>(count);
  io::pwrite_all(file_, data, size, offset, pending_.temporary_path());
  io::begin_writeback(file_, offset, size);
}

void ShardWriter::append(const StoredRows& rows, int64_t first, int64_t count) {
  LORSA_CHECK(count <= room(), Error, "{}: more rows than the shard has room for", path_);
  const auto write_tensor = [&](const at::Tensor& tensor, ShardPart part) {
    if (!tensor.defined()) {
      return;
    }
    const size_t bytes_per_row = tensor.nbytes() / static_cast<size_t>(tensor.size(0));
    const auto* data = static_cast<const char*>(tensor.const_data_ptr());
    write(data + bytes_per_row * static_cast<size_t>(first), bytes_per_row, part, count);
  };
  write_tensor(rows.tokens_BT, kTokens);
  write_tensor(rows.scored_BT, kScored);
  write(rows.document.data() + first, sizeof(int64_t), kDocument, count);
  write(rows.heldout.data() + first, sizeof(uint8_t), kHeldout, count);
  write(rows.checksum.data() + kNumRowSums * static_cast<size_t>(first),
        kNumRowSums * sizeof(uint64_t), kChecksum, count);
  write_tensor(rows.input_scale_BT, kInputScale);
  write_tensor(rows.target_scale_BT, kTargetScale);
  write_tensor(rows.input_BTD, kInput);
  write_tensor(rows.target_BTD, kTarget);
  num_rows_ += count;
}

// Contiguous datasets cannot be cut, so the rows move to a file made for just as many.
void ShardWriter::shrink() {
  io::PendingFile shorter(path_.string() + ".short");
  io::Hdf5Layout layout = io::create_hdf5_file(shorter.temporary_path(),
                                               shard_datasets(manifest_, num_rows_), kShardMark);
  io::FileDescriptor file(shorter.temporary_path(), O_RDWR);
  for (size_t part = 0; part < layout.datasets.size(); ++part) {
    copy_bytes(file_, layout_.datasets[part].offset, pending_.temporary_path(), file,
               layout.datasets[part].offset, shorter.temporary_path(),
               layout.datasets[part].bytes());
  }
  file.close(shorter.temporary_path());
  file_.close(pending_.temporary_path());
  io::rename_durably(shorter.temporary_path(), pending_.temporary_path());
  layout_ = std::move(layout);
}

std::string ShardWriter::finish() {
  if (num_rows_ < capacity_) {
    shrink();
  } else {
    file_.close(pending_.temporary_path());
  }
  io::set_hdf5_mark(pending_.temporary_path(), layout_);
  const io::FileDescriptor file(pending_.temporary_path(), O_RDONLY);
  std::string checksum = structure_checksum(file, pending_.temporary_path(), layout_.datasets);
  pending_.commit();
  return checksum;
}

}  // namespace lorsa::data
