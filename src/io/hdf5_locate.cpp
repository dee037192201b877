#include <fcntl.h>

#include <sstream>

#include "core/file_content.h"
#include "io/file_descriptor.h"
#include "io/hdf5.h"
#include "io/hdf5_library.h"
#include "lorsa/core/error.h"

namespace lorsa::io {
namespace {

std::string name_of(Hdf5Type type) {
  switch (type) {
    case Hdf5Type::kBFloat16:
      return "bfloat16";
    case Hdf5Type::kFloat32:
      return "float32";
    case Hdf5Type::kInt8:
      return "int8";
    case Hdf5Type::kInt32:
      return "int32";
    case Hdf5Type::kInt64:
      return "int64";
    case Hdf5Type::kUInt8:
      return "uint8";
    case Hdf5Type::kUInt64:
      return "uint64";
  }
  return "?";
}

std::string order_note(hid_t type) {
  return H5Tget_size(type) > 1 && H5Tget_order(type) == H5T_ORDER_BE ? " big-endian" : "";
}

std::string describe_type(hid_t type) {
  const size_t bits = 8 * H5Tget_size(type);
  switch (H5Tget_class(type)) {
    case H5T_INTEGER:
      return formatted("{}{}{}", H5Tget_sign(type) == H5T_SGN_NONE ? "uint" : "int", bits,
                       order_note(type));
    case H5T_FLOAT:
      return formatted("a float of {} bits{}", bits, order_note(type));
    default:
      return formatted("a type of {} bits that is no number", bits);
  }
}

std::string shape_text(const std::vector<int64_t>& shape) {
  std::ostringstream out;
  for (size_t i = 0; i < shape.size(); ++i) {
    out << (i == 0 ? "[" : ", ") << shape[i];
  }
  out << (shape.empty() ? "[]" : "]");
  return out.str();
}

void check_mark(hid_t file, const std::string& mark, const std::string& where) {
  const htri_t present = checked<FormatError>(H5Aexists(file, mark.c_str()), "H5Aexists", where);
  LORSA_CHECK(present > 0, FormatError,
              "{}: attribute {}: expected 1, found none (not a shard of a cache)", where, mark);
  const Hdf5Attribute attribute(
      checked<FormatError>(H5Aopen(file, mark.c_str(), H5P_DEFAULT), "H5Aopen", where));
  const Hdf5TypeId type(checked<FormatError>(H5Aget_type(attribute.get()), "H5Aget_type", where));
  LORSA_CHECK(H5Tequal(type.get(), H5T_STD_I32LE) > 0 &&
                  H5Aget_storage_size(attribute.get()) == sizeof(int32_t),
              FormatError, "{}: attribute {}: expected one int32, found {}", where, mark,
              describe_type(type.get()));
  int32_t value = 0;
  checked<FormatError>(H5Aread(attribute.get(), H5T_STD_I32LE, &value), "H5Aread", where);
  LORSA_CHECK(value == 1, FormatError, "{}: attribute {}: expected 1, found {} (not finished)",
              where, mark, value);
}

std::vector<int64_t> shape_of(hid_t dataset, const std::string& where) {
  const Hdf5Space space(checked<FormatError>(H5Dget_space(dataset), "H5Dget_space", where));
  const int rank = checked<FormatError>(H5Sget_simple_extent_ndims(space.get()),
                                        "H5Sget_simple_extent_ndims", where);
  std::vector<hsize_t> dims(static_cast<size_t>(rank));
  checked<FormatError>(H5Sget_simple_extent_dims(space.get(), dims.data(), nullptr),
                       "H5Sget_simple_extent_dims", where);
  return {dims.begin(), dims.end()};
}

void locate(hid_t file, Hdf5Dataset& dataset, uint64_t file_bytes, const std::string& path) {
  const std::string where = path + ": /" + dataset.name;
  LORSA_CHECK(checked<FormatError>(H5Lexists(file, dataset.name.c_str(), H5P_DEFAULT), "H5Lexists",
                                   where) > 0,
              FormatError, "{}: expected a dataset of {} {}, found nothing of that name", where,
              name_of(dataset.type), shape_text(dataset.shape));
  const Hdf5DatasetId found(
      checked<FormatError>(H5Dopen2(file, dataset.name.c_str(), H5P_DEFAULT), "H5Dopen2", where));
  const Hdf5TypeId type(checked<FormatError>(H5Dget_type(found.get()), "H5Dget_type", where));
  const Hdf5TypeId expected = make_type<FormatError>(dataset.type, where);
  LORSA_CHECK(H5Tequal(type.get(), expected.get()) > 0, FormatError, "{}: expected {}, found {}",
              where, name_of(dataset.type), describe_type(type.get()));
  const std::vector<int64_t> shape = shape_of(found.get(), where);
  LORSA_CHECK(shape == dataset.shape, FormatError, "{}: expected shape {}, found {}", where,
              shape_text(dataset.shape), shape_text(shape));
  const Hdf5Properties plist(
      checked<FormatError>(H5Dget_create_plist(found.get()), "H5Dget_create_plist", where));
  const haddr_t offset = H5Dget_offset(found.get());
  LORSA_CHECK(H5Pget_layout(plist.get()) == H5D_CONTIGUOUS && offset != HADDR_UNDEF &&
                  H5Pget_external_count(plist.get()) == 0,
              FormatError, "{}: expected contiguous layout, found another one or no data", where);
  LORSA_CHECK(offset <= file_bytes && dataset.bytes() <= file_bytes - offset, FormatError,
              "{}: expected data up to byte {}, found a file of {} bytes", where,
              offset + dataset.bytes(), file_bytes);
  dataset.offset = offset;
}

}  // namespace

std::vector<Hdf5Dataset> locate_hdf5_datasets(const std::filesystem::path& path,
                                              std::vector<Hdf5Dataset> expected,
                                              const std::string& mark) {
  // First without HDF5: what fails here is the file system, what fails later is the content.
  const uint64_t file_bytes = FileDescriptor(path, O_RDONLY).size(path);
  const std::string where = path.string();
  const Hdf5Visit visit;
  const Hdf5Properties access(checked<FormatError>(H5Pcreate(H5P_FILE_ACCESS), "H5Pcreate", where));
#if H5_VERSION_GE(1, 10, 7)
  // Network file systems without locks are common on clusters.
  checked<FormatError>(H5Pset_file_locking(access.get(), false, true), "H5Pset_file_locking",
                       where);
#endif
  const hid_t opened = H5Fopen(path.c_str(), H5F_ACC_RDONLY, access.get());
  if (opened < 0) {
    refuse_other_content(path, "an HDF5 file", {Content::kHdf5});
  }
  const Hdf5File file(checked<FormatError>(opened, "H5Fopen", where));
  check_mark(file.get(), mark, where);
  for (Hdf5Dataset& dataset : expected) {
    locate(file.get(), dataset, file_bytes, where);
  }
  return expected;
}

}  // namespace lorsa::io
