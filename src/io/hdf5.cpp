#include "io/hdf5.h"

#include <fcntl.h>
#include <hdf5.h>

#include <mutex>
#include <sstream>
#include <string_view>
#include <utility>

#include "io/file_descriptor.h"
#include "lorsa/core/error.h"

namespace lorsa::io {
namespace {

// The page size; also enough for O_DIRECT on every disk.
constexpr hsize_t kAlignment = 4096;

/// One visit to the HDF5 library: alone in it (builds without thread safety crash otherwise) and
/// with its error printing off.
class Visit {
 public:
  Visit() : lock_(mutex()) {
    H5Eget_auto2(H5E_DEFAULT, &print_, &print_data_);
    H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
  }

  ~Visit() { H5Eset_auto2(H5E_DEFAULT, print_, print_data_); }

  Visit(const Visit&) = delete;
  Visit& operator=(const Visit&) = delete;

 private:
  static std::mutex& mutex() {
    static std::mutex instance;
    return instance;
  }

  std::lock_guard<std::mutex> lock_;
  H5E_auto2_t print_ = nullptr;
  void* print_data_ = nullptr;
};

herr_t keep_first(unsigned /*depth*/, const H5E_error2_t* error, void* text) {
  auto& kept = *static_cast<std::string*>(text);
  if (kept.empty() && error->desc != nullptr) {
    kept = error->desc;
  }
  return 0;
}

/// The innermost message on HDF5's error stack: the outer ones only repeat the call.
std::string library_message() {
  std::string text;
  if (H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, &keep_first, &text) < 0 || text.empty()) {
    return "no message";
  }
  return text;
}

template <typename Failure, typename Code>
Code checked(Code code, std::string_view call, const std::string& where) {
  if (code < 0) {
    throw Failure(concat(where, ": ", call, " failed: ", library_message()));
  }
  return code;
}

template <herr_t (*Close)(hid_t)>
class Handle {
 public:
  explicit Handle(hid_t id) : id_(id) {}

  ~Handle() {
    if (id_ >= 0) {
      Close(id_);
    }
  }

  Handle(Handle&& other) noexcept : id_(std::exchange(other.id_, -1)) {}

  Handle& operator=(Handle&&) = delete;

  [[nodiscard]] hid_t get() const { return id_; }

  [[nodiscard]] herr_t close() { return Close(std::exchange(id_, -1)); }

 private:
  hid_t id_;
};

using File = Handle<&H5Fclose>;
using Properties = Handle<&H5Pclose>;
using Space = Handle<&H5Sclose>;
using Type = Handle<&H5Tclose>;
using Dataset = Handle<&H5Dclose>;
using Attribute = Handle<&H5Aclose>;

std::string name_of(Hdf5Type type) {
  switch (type) {
    case Hdf5Type::kBFloat16:
      return "bfloat16";
    case Hdf5Type::kFloat32:
      return "float32";
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

template <typename Failure>
Type make_type(Hdf5Type type, const std::string& where) {
  const auto copy = [&](hid_t original) {
    return Type(checked<Failure>(H5Tcopy(original), "H5Tcopy", where));
  };
  switch (type) {
    case Hdf5Type::kFloat32:
      return copy(H5T_IEEE_F32LE);
    case Hdf5Type::kInt32:
      return copy(H5T_STD_I32LE);
    case Hdf5Type::kInt64:
      return copy(H5T_STD_I64LE);
    case Hdf5Type::kUInt8:
      return copy(H5T_STD_U8LE);
    case Hdf5Type::kUInt64:
      return copy(H5T_STD_U64LE);
    case Hdf5Type::kBFloat16:
      break;
  }
  // float32 without its lower 16 mantissa bits; fields before size, since they must always fit.
  Type narrow = copy(H5T_IEEE_F32LE);
  checked<Failure>(H5Tset_fields(narrow.get(), 15, 7, 8, 0, 7), "H5Tset_fields", where);
  checked<Failure>(H5Tset_size(narrow.get(), 2), "H5Tset_size", where);
  checked<Failure>(H5Tset_ebias(narrow.get(), 127), "H5Tset_ebias", where);
  return narrow;
}

std::string order_note(hid_t type) {
  return H5Tget_size(type) > 1 && H5Tget_order(type) == H5T_ORDER_BE ? " big-endian" : "";
}

std::string describe_type(hid_t type) {
  const size_t bits = 8 * H5Tget_size(type);
  switch (H5Tget_class(type)) {
    case H5T_INTEGER:
      return concat(H5Tget_sign(type) == H5T_SGN_NONE ? "uint" : "int", bits, order_note(type));
    case H5T_FLOAT:
      return concat("a float of ", bits, " bits", order_note(type));
    default:
      return concat("a type of ", bits, " bits that is no number");
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

template <typename Failure>
Properties access_properties(const std::string& where) {
  Properties access(checked<Failure>(H5Pcreate(H5P_FILE_ACCESS), "H5Pcreate", where));
  const hid_t id = access.get();
  checked<Failure>(H5Pset_alignment(id, kAlignment, kAlignment), "H5Pset_alignment", where);
  checked<Failure>(H5Pset_fclose_degree(id, H5F_CLOSE_STRONG), "H5Pset_fclose_degree", where);
#if H5_VERSION_GE(1, 10, 7)
  // Network file systems without locks are common on clusters; the cache folder has its own lock.
  checked<Failure>(H5Pset_file_locking(id, false, true), "H5Pset_file_locking", where);
#endif
  return access;
}

void create_dataset(hid_t file, Hdf5Dataset& dataset, const std::string& path) {
  const std::string where = path + ": /" + dataset.name;
  const std::vector<hsize_t> dims(dataset.shape.begin(), dataset.shape.end());
  const Space space(
      checked<IoError>(H5Screate_simple(static_cast<int>(dims.size()), dims.data(), nullptr),
                       "H5Screate_simple",
                       where));
  const Type type = make_type<IoError>(dataset.type, where);
  const Properties plist(checked<IoError>(H5Pcreate(H5P_DATASET_CREATE), "H5Pcreate", where));
  checked<IoError>(H5Pset_layout(plist.get(), H5D_CONTIGUOUS), "H5Pset_layout", where);
  checked<IoError>(
      H5Pset_alloc_time(plist.get(), H5D_ALLOC_TIME_EARLY), "H5Pset_alloc_time", where);
  checked<IoError>(H5Pset_fill_time(plist.get(), H5D_FILL_TIME_NEVER), "H5Pset_fill_time", where);
  checked<IoError>(H5Pset_obj_track_times(plist.get(), false), "H5Pset_obj_track_times", where);
  const Dataset made(checked<IoError>(H5Dcreate2(file,
                                                 dataset.name.c_str(),
                                                 type.get(),
                                                 space.get(),
                                                 H5P_DEFAULT,
                                                 plist.get(),
                                                 H5P_DEFAULT),
                                      "H5Dcreate2",
                                      where));
  const haddr_t offset = H5Dget_offset(made.get());
  LORSA_CHECK(offset != HADDR_UNDEF, IoError, where, ": H5Dget_offset failed: no space allocated");
  dataset.offset = offset;
}

void create_mark(hid_t file, const std::string& mark, const std::string& where) {
  const Space scalar(checked<IoError>(H5Screate(H5S_SCALAR), "H5Screate", where));
  const Attribute attribute(checked<IoError>(
      H5Acreate2(file, mark.c_str(), H5T_STD_I32LE, scalar.get(), H5P_DEFAULT, H5P_DEFAULT),
      "H5Acreate2",
      where));
  const int32_t unfinished = 0;
  checked<IoError>(H5Awrite(attribute.get(), H5T_STD_I32LE, &unfinished), "H5Awrite", where);
}

void check_mark(hid_t file, const std::string& mark, const std::string& where) {
  const htri_t present = checked<FormatError>(H5Aexists(file, mark.c_str()), "H5Aexists", where);
  LORSA_CHECK(present > 0,
              FormatError,
              where,
              ": attribute ",
              mark,
              ": expected 1, found no such attribute (not a shard of a cache)");
  const Attribute attribute(
      checked<FormatError>(H5Aopen(file, mark.c_str(), H5P_DEFAULT), "H5Aopen", where));
  const Type type(checked<FormatError>(H5Aget_type(attribute.get()), "H5Aget_type", where));
  LORSA_CHECK(H5Tequal(type.get(), H5T_STD_I32LE) > 0 &&
                  H5Aget_storage_size(attribute.get()) == sizeof(int32_t),
              FormatError,
              where,
              ": attribute ",
              mark,
              ": expected one int32, found ",
              describe_type(type.get()));
  int32_t value = 0;
  checked<FormatError>(H5Aread(attribute.get(), H5T_STD_I32LE, &value), "H5Aread", where);
  LORSA_CHECK(value == 1,
              FormatError,
              where,
              ": attribute ",
              mark,
              ": expected 1, found ",
              value,
              " (the file was not finished)");
}

std::vector<int64_t> shape_of(hid_t dataset, const std::string& where) {
  const Space space(checked<FormatError>(H5Dget_space(dataset), "H5Dget_space", where));
  const int rank = checked<FormatError>(
      H5Sget_simple_extent_ndims(space.get()), "H5Sget_simple_extent_ndims", where);
  std::vector<hsize_t> dims(static_cast<size_t>(rank));
  checked<FormatError>(H5Sget_simple_extent_dims(space.get(), dims.data(), nullptr),
                       "H5Sget_simple_extent_dims",
                       where);
  return {dims.begin(), dims.end()};
}

void locate(hid_t file, Hdf5Dataset& dataset, uint64_t file_bytes, const std::string& path) {
  const std::string where = path + ": /" + dataset.name;
  LORSA_CHECK(checked<FormatError>(
                  H5Lexists(file, dataset.name.c_str(), H5P_DEFAULT), "H5Lexists", where) > 0,
              FormatError,
              where,
              ": expected a dataset of ",
              name_of(dataset.type),
              " ",
              shape_text(dataset.shape),
              ", found nothing of that name");
  const Dataset found(
      checked<FormatError>(H5Dopen2(file, dataset.name.c_str(), H5P_DEFAULT), "H5Dopen2", where));
  const Type type(checked<FormatError>(H5Dget_type(found.get()), "H5Dget_type", where));
  const Type expected = make_type<FormatError>(dataset.type, where);
  LORSA_CHECK(H5Tequal(type.get(), expected.get()) > 0,
              FormatError,
              where,
              ": expected ",
              name_of(dataset.type),
              ", found ",
              describe_type(type.get()));
  const std::vector<int64_t> shape = shape_of(found.get(), where);
  LORSA_CHECK(shape == dataset.shape,
              FormatError,
              where,
              ": expected shape ",
              shape_text(dataset.shape),
              ", found ",
              shape_text(shape));
  const Properties plist(
      checked<FormatError>(H5Dget_create_plist(found.get()), "H5Dget_create_plist", where));
  const haddr_t offset = H5Dget_offset(found.get());
  LORSA_CHECK(H5Pget_layout(plist.get()) == H5D_CONTIGUOUS && offset != HADDR_UNDEF &&
                  H5Pget_external_count(plist.get()) == 0,
              FormatError,
              where,
              ": expected contiguous layout, found another one or no data");
  LORSA_CHECK(offset <= file_bytes && dataset.bytes() <= file_bytes - offset,
              FormatError,
              where,
              ": expected data up to byte ",
              offset + dataset.bytes(),
              ", found a file of ",
              file_bytes,
              " bytes");
  dataset.offset = offset;
}

}  // namespace

size_t item_bytes(Hdf5Type type) {
  switch (type) {
    case Hdf5Type::kUInt8:
      return 1;
    case Hdf5Type::kBFloat16:
      return 2;
    case Hdf5Type::kFloat32:
    case Hdf5Type::kInt32:
      return 4;
    case Hdf5Type::kInt64:
    case Hdf5Type::kUInt64:
      return 8;
  }
  return 0;
}

uint64_t Hdf5Dataset::bytes() const {
  uint64_t product = item_bytes(type);
  for (const int64_t size : shape) {
    product *= static_cast<uint64_t>(size);
  }
  return product;
}

std::vector<Hdf5Dataset> create_hdf5_file(const std::filesystem::path& path,
                                          std::vector<Hdf5Dataset> datasets,
                                          const std::string& mark) {
  const std::string where = path.string();
  const Visit visit;
  const Properties creation(checked<IoError>(H5Pcreate(H5P_FILE_CREATE), "H5Pcreate", where));
  checked<IoError>(H5Pset_obj_track_times(creation.get(), false), "H5Pset_obj_track_times", where);
  const Properties access = access_properties<IoError>(where);
  File file(checked<IoError>(
      H5Fcreate(path.c_str(), H5F_ACC_TRUNC, creation.get(), access.get()), "H5Fcreate", where));
  create_mark(file.get(), mark, where);
  for (Hdf5Dataset& dataset : datasets) {
    create_dataset(file.get(), dataset, where);
  }
  checked<IoError>(file.close(), "H5Fclose", where);
  return datasets;
}

void set_hdf5_mark(const std::filesystem::path& path, const std::string& mark) {
  const std::string where = path.string();
  const Visit visit;
  const Properties access = access_properties<IoError>(where);
  File file(checked<IoError>(H5Fopen(path.c_str(), H5F_ACC_RDWR, access.get()), "H5Fopen", where));
  {
    const Attribute attribute(
        checked<IoError>(H5Aopen(file.get(), mark.c_str(), H5P_DEFAULT), "H5Aopen", where));
    const int32_t finished = 1;
    checked<IoError>(H5Awrite(attribute.get(), H5T_STD_I32LE, &finished), "H5Awrite", where);
  }
  checked<IoError>(file.close(), "H5Fclose", where);
}

std::vector<Hdf5Dataset> locate_hdf5_datasets(const std::filesystem::path& path,
                                              std::vector<Hdf5Dataset> expected,
                                              const std::string& mark) {
  // First without HDF5: what fails here is the file system, what fails later is the content.
  const uint64_t file_bytes = FileDescriptor(path, O_RDONLY).size(path);
  const std::string where = path.string();
  const Visit visit;
  const Properties access = access_properties<FormatError>(where);
  const File file(
      checked<FormatError>(H5Fopen(path.c_str(), H5F_ACC_RDONLY, access.get()), "H5Fopen", where));
  check_mark(file.get(), mark, where);
  for (Hdf5Dataset& dataset : expected) {
    locate(file.get(), dataset, file_bytes, where);
  }
  return expected;
}

}  // namespace lorsa::io
