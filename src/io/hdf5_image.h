#pragma once

#include <hdf5.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "io/hdf5_library.h"

namespace lorsa::io {

/// What HDF5 wrote to a file that exists in memory only: its metadata, in the order of writing, not
/// the datasets that it merely allocated.
struct Hdf5Image {
  std::vector<std::pair<uint64_t, std::string>> writes;
  uint64_t size = 0;  ///< of the file, allocated datasets included
};

/// What H5Pset_driver() of the recording driver takes; the image must outlive the file.
struct Hdf5ImageTarget {
  Hdf5Image* image = nullptr;
};

using Hdf5Driver = Hdf5Handle<&H5FDunregister>;

/// Registers the file driver that records into an Hdf5Image. Negative if HDF5 refuses.
[[nodiscard]] hid_t register_image_driver();

}  // namespace lorsa::io
