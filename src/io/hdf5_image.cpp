#include "io/hdf5_image.h"

#include <algorithm>
#include <cstring>
#include <memory>

namespace lorsa::io {
namespace {

/// The driver's file; HDF5 sees its first member and fills it.
struct ImageFile {
  H5FD_t base;
  Hdf5ImageTarget target;
};

Hdf5Image& image_of(const H5FD_t* file) {
  return *reinterpret_cast<const ImageFile*>(file)->target.image;
}

H5FD_t* open_image(const char* /*name*/, unsigned /*flags*/, hid_t access, haddr_t /*limit*/) {
  const void* info = H5Pget_driver_info(access);
  if (info == nullptr) {
    return nullptr;
  }
  auto file = std::make_unique<ImageFile>();
  std::memcpy(&file->target, info, sizeof(file->target));
  *file->target.image = Hdf5Image{};
  return &file.release()->base;
}

herr_t close_image(H5FD_t* file) {
  delete reinterpret_cast<ImageFile*>(file);
  return 0;
}

herr_t query_image(const H5FD_t* /*file*/, unsigned long* flags) {
  // As the driver for plain files has them, so that the layout is the same.
  *flags = H5FD_FEAT_AGGREGATE_METADATA | H5FD_FEAT_ACCUMULATE_METADATA | H5FD_FEAT_DATA_SIEVE |
           H5FD_FEAT_AGGREGATE_SMALLDATA | H5FD_FEAT_DEFAULT_VFD_COMPATIBLE;
  return 0;
}

haddr_t allocated_end(const H5FD_t* file, H5FD_mem_t /*type*/) {
  return image_of(file).size;
}

herr_t set_allocated_end(H5FD_t* file, H5FD_mem_t /*type*/, haddr_t end) {
  image_of(file).size = end;
  return 0;
}

haddr_t written_end(const H5FD_t* file, H5FD_mem_t /*type*/) {
  haddr_t end = 0;
  for (const auto& [offset, bytes] : image_of(file).writes) {
    end = std::max<haddr_t>(end, offset + bytes.size());
  }
  return end;
}

herr_t write_image(H5FD_t* file,
                   H5FD_mem_t /*type*/,
                   hid_t /*transfer*/,
                   haddr_t offset,
                   size_t size,
                   const void* data) {
  try {
    image_of(file).writes.emplace_back(offset, std::string(static_cast<const char*>(data), size));
  } catch (...) {
    return -1;  // no exception may pass through C
  }
  return 0;
}

herr_t read_image(H5FD_t* file,
                  H5FD_mem_t /*type*/,
                  hid_t /*transfer*/,
                  haddr_t offset,
                  size_t size,
                  void* data) {
  std::memset(data, 0, size);
  for (const auto& [start, bytes] : image_of(file).writes) {
    const haddr_t first = std::max<haddr_t>(start, offset);
    const haddr_t last = std::min<haddr_t>(start + bytes.size(), offset + size);
    if (first < last) {
      std::memcpy(static_cast<char*>(data) + (first - offset), bytes.data() + (first - start),
                  last - first);
    }
  }
  return 0;
}

}  // namespace

hid_t register_image_driver() {
  H5FD_class_t driver{};
#ifdef H5FD_CLASS_VERSION
  driver.version = H5FD_CLASS_VERSION;
  driver.value = 600;  // 512 and above are for drivers of applications
#endif
  driver.name = "lorsa-image";
  driver.maxaddr = haddr_t{1} << 62U;
  driver.fc_degree = H5F_CLOSE_STRONG;
  driver.fapl_size = sizeof(Hdf5ImageTarget);
  driver.open = &open_image;
  driver.close = &close_image;
  driver.query = &query_image;
  driver.get_eoa = &allocated_end;
  driver.set_eoa = &set_allocated_end;
  driver.get_eof = &written_end;
  driver.read = &read_image;
  driver.write = &write_image;
  // All kinds of metadata and data from one pool each, as for plain files.
  const H5FD_mem_t pools[H5FD_MEM_NTYPES] = H5FD_FLMAP_DICHOTOMY;
  std::copy(std::begin(pools), std::end(pools), std::begin(driver.fl_map));
  return H5FDregister(&driver);
}

}  // namespace lorsa::io
