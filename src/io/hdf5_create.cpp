// HDF5 never writes to the disk: it writes into memory (hdf5_image.h) and we write what it wrote.
// HDF5 1.10 flushes its metadata when it closes a file, and where that fails (a full disk) the file
// stays half-open in the library and crashes the process at exit.
#include <fcntl.h>
#include <unistd.h>

#include "io/file_descriptor.h"
#include "io/hdf5.h"
#include "io/hdf5_image.h"
#include "io/hdf5_library.h"
#include "lorsa/core/error.h"

namespace lorsa::io {
namespace {

// The page size; also enough for O_DIRECT on every disk.
constexpr hsize_t kAlignment = 4096;

void create_dataset(hid_t file, Hdf5Dataset& dataset, const std::string& path) {
  const std::string where = path + ": /" + dataset.name;
  const std::vector<hsize_t> dims(dataset.shape.begin(), dataset.shape.end());
  const Hdf5Space space(
      checked<IoError>(H5Screate_simple(static_cast<int>(dims.size()), dims.data(), nullptr),
                       "H5Screate_simple", where));
  const Hdf5TypeId type = make_type<IoError>(dataset.type, where);
  const Hdf5Properties plist(checked<IoError>(H5Pcreate(H5P_DATASET_CREATE), "H5Pcreate", where));
  checked<IoError>(H5Pset_layout(plist.get(), H5D_CONTIGUOUS), "H5Pset_layout", where);
  checked<IoError>(H5Pset_alloc_time(plist.get(), H5D_ALLOC_TIME_EARLY), "H5Pset_alloc_time",
                   where);
  checked<IoError>(H5Pset_fill_time(plist.get(), H5D_FILL_TIME_NEVER), "H5Pset_fill_time", where);
  checked<IoError>(H5Pset_obj_track_times(plist.get(), false), "H5Pset_obj_track_times", where);
  const Hdf5DatasetId made(
      checked<IoError>(H5Dcreate2(file, dataset.name.c_str(), type.get(), space.get(), H5P_DEFAULT,
                                  plist.get(), H5P_DEFAULT),
                       "H5Dcreate2", where));
  const haddr_t offset = H5Dget_offset(made.get());
  LORSA_CHECK(offset != HADDR_UNDEF, IoError, "{}: H5Dget_offset: no space allocated", where);
  dataset.offset = offset;
}

void create_mark(hid_t file, const std::string& mark, int32_t value, const std::string& where) {
  const Hdf5Space scalar(checked<IoError>(H5Screate(H5S_SCALAR), "H5Screate", where));
  const Hdf5Attribute attribute(checked<IoError>(
      H5Acreate2(file, mark.c_str(), H5T_STD_I32LE, scalar.get(), H5P_DEFAULT, H5P_DEFAULT),
      "H5Acreate2", where));
  checked<IoError>(H5Awrite(attribute.get(), H5T_STD_I32LE, &value), "H5Awrite", where);
}

/// What HDF5 writes for a file of these datasets with the mark at `value`; sets their offsets.
Hdf5Image make_image(std::vector<Hdf5Dataset>& datasets,
                     const std::string& mark,
                     int32_t value,
                     const std::string& where) {
  Hdf5Image image;
  const Hdf5Visit visit;
  const Hdf5Driver driver(checked<IoError>(register_image_driver(), "H5FDregister", where));
  const Hdf5Properties creation(checked<IoError>(H5Pcreate(H5P_FILE_CREATE), "H5Pcreate", where));
  checked<IoError>(H5Pset_obj_track_times(creation.get(), false), "H5Pset_obj_track_times", where);
  const Hdf5Properties access(checked<IoError>(H5Pcreate(H5P_FILE_ACCESS), "H5Pcreate", where));
  checked<IoError>(H5Pset_alignment(access.get(), kAlignment, kAlignment), "H5Pset_alignment",
                   where);
  checked<IoError>(H5Pset_fclose_degree(access.get(), H5F_CLOSE_STRONG), "H5Pset_fclose_degree",
                   where);
  const Hdf5ImageTarget target{&image};
  checked<IoError>(H5Pset_driver(access.get(), driver.get(), &target), "H5Pset_driver", where);
  Hdf5File file(checked<IoError>(H5Fcreate("image", H5F_ACC_TRUNC, creation.get(), access.get()),
                                 "H5Fcreate", where));
  create_mark(file.get(), mark, value, where);
  for (Hdf5Dataset& dataset : datasets) {
    create_dataset(file.get(), dataset, where);
  }
  checked<IoError>(file.close(), "H5Fclose", where);
  return image;
}

/// The one byte in which the images of an unfinished and of a finished file differ.
uint64_t mark_offset(const Hdf5Image& unfinished,
                     const Hdf5Image& finished,
                     const std::string& where) {
  std::vector<uint64_t> offsets;
  LORSA_CHECK(
      unfinished.writes.size() == finished.writes.size() && unfinished.size == finished.size,
      IoError, "{}: HDF5 lays out the same file in two ways", where);
  for (size_t i = 0; i < unfinished.writes.size(); ++i) {
    const auto& [offset, before] = unfinished.writes[i];
    const auto& [same_offset, after] = finished.writes[i];
    LORSA_CHECK(offset == same_offset && before.size() == after.size(), IoError,
                "{}: HDF5 lays out the same file in two ways", where);
    for (size_t j = 0; j < before.size(); ++j) {
      if (before[j] != after[j]) {
        offsets.push_back(offset + j);
      }
    }
  }
  LORSA_CHECK(offsets.size() == 1, IoError,
              "{}: expected the mark to be one byte of the file, found {}", where, offsets.size());
  return offsets.front();
}

}  // namespace

Hdf5Layout create_hdf5_file(const std::filesystem::path& path,
                            std::vector<Hdf5Dataset> datasets,
                            const std::string& mark) {
  const std::string where = path.string();
  const Hdf5Image finished = make_image(datasets, mark, 1, where);
  const Hdf5Image image = make_image(datasets, mark, 0, where);
  FileDescriptor file(path, O_RDWR | O_CREAT | O_TRUNC);
  LORSA_CHECK(::ftruncate(file.get(), static_cast<off_t>(image.size)) == 0, IoError, "{}",
              errno_message(path, formatted("cannot make a file of {} bytes", image.size)));
  for (const auto& [offset, bytes] : image.writes) {
    pwrite_all(file, bytes.data(), bytes.size(), offset, path);
  }
  file.close(path);
  return {std::move(datasets), mark_offset(image, finished, where)};
}

void set_hdf5_mark(const std::filesystem::path& path, const Hdf5Layout& layout) {
  FileDescriptor file(path, O_RDWR);
  const char finished = 1;
  pwrite_all(file, &finished, sizeof(finished), layout.mark_offset, path);
  file.close(path);
}

}  // namespace lorsa::io
