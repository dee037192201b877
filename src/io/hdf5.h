#pragma once

// The little of HDF5 that cache shards need, without HDF5's types: make a file of contiguous
// datasets, find out where their bytes lie, set a mark. The bytes themselves go through pread and
// pwrite, so HDF5 never converts a value.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace lorsa::io {

enum class Hdf5Type { kBFloat16, kFloat32, kInt8, kInt32, kInt64, kUInt8, kUInt64 };

/// Bytes of one element.
[[nodiscard]] size_t item_bytes(Hdf5Type type);

/// A dataset with contiguous layout, little-endian.
struct Hdf5Dataset {
  std::string name;
  Hdf5Type type = Hdf5Type::kUInt8;
  std::vector<int64_t> shape;
  uint64_t offset = 0;  ///< of its first byte in the file

  [[nodiscard]] uint64_t bytes() const;
};

/// A file made by create_hdf5_file().
struct Hdf5Layout {
  std::vector<Hdf5Dataset> datasets;
  uint64_t mark_offset = 0;
};

/// Creates (or truncates) `path` with the given datasets, fully allocated and not filled, and the
/// int32 attribute `mark` = 0 on the root group; returns where everything lies.
///
/// Datasets of 4096 bytes and more start at multiples of 4096. No filters, no time stamps: the same
/// arguments give the same bytes. Throws IoError.
[[nodiscard]] Hdf5Layout create_hdf5_file(const std::filesystem::path& path,
                                          std::vector<Hdf5Dataset> datasets,
                                          const std::string& mark);

/// Sets the mark of a file made by create_hdf5_file() to 1. Throws IoError.
void set_hdf5_mark(const std::filesystem::path& path, const Hdf5Layout& layout);

/// Opens `path`, demands attribute `mark` = 1 and exactly the type and shape of every `expected`
/// dataset, and returns them with their offsets. Throws IoError if the file cannot be opened,
/// FormatError (file, dataset, expected, found) for anything else.
[[nodiscard]] std::vector<Hdf5Dataset> locate_hdf5_datasets(const std::filesystem::path& path,
                                                            std::vector<Hdf5Dataset> expected,
                                                            const std::string& mark);

}  // namespace lorsa::io
