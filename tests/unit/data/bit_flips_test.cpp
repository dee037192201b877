// What `verify` promises: any bit of any file of a cache, and where it can be said, the row.
#include <ATen/ATen.h>

#include <random>
#include <string>
#include <vector>

#include "cache_fixture.h"
#include "data/shard_format.h"
#include "io/hdf5.h"

namespace lorsa::data {
namespace {

struct Byte {
  std::string file;
  size_t offset = 0;
  int64_t row = -1;  ///< of the shard, where the byte belongs to one
};

/// The row that a byte of a shard belongs to, /checksum included.
int64_t row_of(const std::vector<io::Hdf5Dataset>& datasets, size_t offset) {
  for (const io::Hdf5Dataset& dataset : datasets) {
    const size_t bytes_per_row =
        static_cast<size_t>(dataset.bytes()) / static_cast<size_t>(dataset.shape[0]);
    if (offset >= dataset.offset && offset < dataset.offset + dataset.bytes()) {
      return static_cast<int64_t>((offset - dataset.offset) / bytes_per_row);
    }
  }
  return -1;
}

class Cache {
 public:
  Cache(const std::filesystem::path& folder, StoreDtype dtype) : folder_(folder) {
    test_cache::write_cache(folder, 11, test_cache::plan(StoreMode::kInputAndTarget, dtype));
    manifest_ = read_manifest(folder);
    for (const auto& [name, digest] : test_cache::contents(folder)) {
      names_.push_back(name);
      sizes_.push_back(std::filesystem::file_size(folder / name));
    }
  }

  [[nodiscard]] size_t bytes() const {
    size_t sum = 0;
    for (const size_t size : sizes_) {
      sum += size;
    }
    return sum;
  }

  /// Byte `index` of all files behind one another.
  [[nodiscard]] Byte byte(size_t index) const {
    size_t file = 0;
    while (index >= sizes_[file]) {
      index -= sizes_[file++];
    }
    Byte found{names_[file], index, -1};
    if (const auto number = shard_index(found.file)) {
      const int64_t num_rows = manifest_.shards[static_cast<size_t>(*number)].num_rows;
      found.row = row_of(io::locate_hdf5_datasets(folder_ / found.file,
                                                  shard_datasets(manifest_, num_rows), kShardMark),
                         index);
    }
    return found;
  }

  /// What verify says with one bit of the byte flipped.
  [[nodiscard]] std::vector<Defect> defects_with_flip(const Byte& byte, int bit) const {
    const std::string good = io::read_file(folder_ / byte.file);
    std::string bad = good;
    bad[byte.offset] =
        static_cast<char>(static_cast<unsigned char>(bad[byte.offset]) ^ (1U << bit));
    io::write_file(folder_ / byte.file, bad);
    std::vector<Defect> defects = verify_cache(folder_, {});
    io::write_file(folder_ / byte.file, good);
    return defects;
  }

 private:
  std::filesystem::path folder_;
  Manifest manifest_;
  std::vector<std::string> names_;
  std::vector<size_t> sizes_;
};

bool names(const std::vector<Defect>& defects, const Byte& byte) {
  for (const Defect& defect : defects) {
    if (defect.file == byte.file && defect.row == byte.row) {
      return true;
    }
  }
  return false;
}

TEST_CASE("200 random flipped bits are all found, with file and row", "[data]") {
  for (const StoreDtype dtype : {StoreDtype::kBFloat16, StoreDtype::kInt8}) {
    const test::TempDir folder;
    const Cache cache(folder.path(), dtype);
    std::mt19937_64 random(20261124);
    int in_rows = 0;
    for (int flip = 0; flip < 200; ++flip) {
      const Byte byte = cache.byte(random() % cache.bytes());
      const auto bit = static_cast<int>(random() % 8);
      CAPTURE(byte.file, byte.offset, bit, byte.row);
      const std::vector<Defect> defects = cache.defects_with_flip(byte, bit);
      CHECK(names(defects, byte));
      in_rows += byte.row >= 0 ? 1 : 0;
    }
    // Rows are a small part of so small a cache in int8: 14 of these 200 flips hit one.
    CHECK(in_rows > 5);
    CHECK(in_rows < 180);  // HDF5's structures and the other files have had their share
    CHECK(verify_cache(folder.path(), {}).empty());
  }
}

TEST_CASE("every bit of HDF5's structures can flip without a crash and is found", "[data]") {
  const test::TempDir folder;
  const Cache cache(folder.path(), StoreDtype::kBFloat16);
  // The first file behind attention.safetensors and manifest.json.
  const size_t before = std::filesystem::file_size(folder / "attention.safetensors") +
                        std::filesystem::file_size(folder / "manifest.json");
  int structures = 0;
  for (size_t offset = 0; offset < 4096; ++offset) {
    const Byte byte = cache.byte(before + offset);
    if (byte.row >= 0) {
      continue;
    }
    ++structures;
    CAPTURE(byte.file, offset);
    CHECK(names(cache.defects_with_flip(byte, static_cast<int>(offset % 8)), byte));
  }
  CHECK(structures > 1000);
}

}  // namespace
}  // namespace lorsa::data
