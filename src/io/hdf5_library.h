#pragma once

// What every use of the HDF5 library in this module shares.

#include <hdf5.h>

#include <mutex>
#include <string>
#include <string_view>
#include <utility>

#include "io/hdf5.h"
#include "lorsa/core/error.h"

namespace lorsa::io {

/// One visit to the HDF5 library: alone in it (builds without thread safety crash otherwise) and
/// with its error printing off.
class Hdf5Visit {
 public:
  Hdf5Visit()
      : lock_(mutex()),
        no_cleanup_(keep_from_cleaning_up()),
        quiet_(H5Eget_auto2(H5E_DEFAULT, &print_, &print_data_) >= 0 &&
               H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr) >= 0) {}

  ~Hdf5Visit() {
    if (quiet_) {
      static_cast<void>(H5Eset_auto2(H5E_DEFAULT, print_, print_data_));
    }
  }

  Hdf5Visit(const Hdf5Visit&) = delete;
  Hdf5Visit& operator=(const Hdf5Visit&) = delete;

 private:
  // Every identifier is closed where it was made. What the library itself leaks of damaged files it
  // would try to close at the program's exit and complain that it cannot.
  static bool keep_from_cleaning_up() {
    static const bool done = H5dont_atexit() >= 0;
    return done;
  }

  static std::mutex& mutex() {
    static std::mutex instance;
    return instance;
  }

  std::lock_guard<std::mutex> lock_;
  bool no_cleanup_;
  H5E_auto2_t print_ = nullptr;
  void* print_data_ = nullptr;
  bool quiet_;  // after what its initialiser fills
};

/// The innermost message on HDF5's error stack: the outer ones only repeat the call.
[[nodiscard]] std::string hdf5_message();

/// Passes a return code on, or throws Failure with the library's message if it is negative.
template <typename Failure, typename Code>
Code checked(Code code, std::string_view call, const std::string& where) {
  if (code < 0) {
    throw Failure(formatted("{}: {} failed: {}", where, call, hdf5_message()));
  }
  return code;
}

/// Owns one identifier of the library.
template <herr_t (*Close)(hid_t)>
class Hdf5Handle {
 public:
  explicit Hdf5Handle(hid_t id) : id_(id) {}

  ~Hdf5Handle() {
    if (id_ >= 0) {
      Close(id_);
    }
  }

  Hdf5Handle(Hdf5Handle&& other) noexcept : id_(std::exchange(other.id_, -1)) {}

  Hdf5Handle& operator=(Hdf5Handle&&) = delete;

  [[nodiscard]] hid_t get() const { return id_; }

  [[nodiscard]] herr_t close() { return Close(std::exchange(id_, -1)); }

 private:
  hid_t id_;
};

using Hdf5File = Hdf5Handle<&H5Fclose>;
using Hdf5Properties = Hdf5Handle<&H5Pclose>;
using Hdf5Space = Hdf5Handle<&H5Sclose>;
using Hdf5TypeId = Hdf5Handle<&H5Tclose>;
using Hdf5DatasetId = Hdf5Handle<&H5Dclose>;
using Hdf5Attribute = Hdf5Handle<&H5Aclose>;

/// The library's file type for one of ours; Failure as in checked().
template <typename Failure>
Hdf5TypeId make_type(Hdf5Type type, const std::string& where) {
  const auto copy = [&](hid_t original) {
    return Hdf5TypeId(checked<Failure>(H5Tcopy(original), "H5Tcopy", where));
  };
  switch (type) {
    case Hdf5Type::kFloat32:
      return copy(H5T_IEEE_F32LE);
    case Hdf5Type::kInt32:
      return copy(H5T_STD_I32LE);
    case Hdf5Type::kInt64:
      return copy(H5T_STD_I64LE);
    case Hdf5Type::kInt8:
      return copy(H5T_STD_I8LE);
    case Hdf5Type::kUInt8:
      return copy(H5T_STD_U8LE);
    case Hdf5Type::kUInt64:
      return copy(H5T_STD_U64LE);
    case Hdf5Type::kBFloat16:
      break;
  }
  // float32 without its lower 16 mantissa bits; fields before size, since they must always fit.
  Hdf5TypeId narrow = copy(H5T_IEEE_F32LE);
  checked<Failure>(H5Tset_fields(narrow.get(), 15, 7, 8, 0, 7), "H5Tset_fields", where);
  checked<Failure>(H5Tset_size(narrow.get(), 2), "H5Tset_size", where);
  checked<Failure>(H5Tset_ebias(narrow.get(), 127), "H5Tset_ebias", where);
  return narrow;
}

}  // namespace lorsa::io
