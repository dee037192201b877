#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "lorsa/core/api.h"

namespace lorsa::io {

using NamedTensors = std::vector<std::pair<std::string, at::Tensor>>;

/// Reads one safetensors file through a read-only memory map.
///
/// The constructor checks everything that the header claims: header length against file size, JSON
/// without duplicate keys, shape times item size = byte range (for all dtypes of the format),
/// ranges inside the file, no overlaps and no gaps. Throws FormatError (path, tensor, expected,
/// found) or IoError; a file that is something else (a Git LFS pointer, a web page, a zip archive,
/// a download that goes on) is called by its name. Tensors of other dtypes than F64 F32 F16 BF16
/// I64 I32 I16 I8 U8 BOOL may stand in the file: only dtype() and reading them is refused. const
/// methods are thread-safe.
class LORSA_API SafetensorsReader {
 public:
  explicit SafetensorsReader(const std::filesystem::path& path);

  [[nodiscard]] std::vector<std::string> names() const;
  [[nodiscard]] bool contains(const std::string& name) const;
  /// Shape and dtype without touching the data. Throws FormatError if the name is absent (message
  /// lists near names); dtype() also for one that is not read.
  [[nodiscard]] std::vector<int64_t> shape(const std::string& name) const;
  [[nodiscard]] at::ScalarType dtype(const std::string& name) const;

  /// A tensor that shares the file's mapping (kept alive by the tensor). Writing to it is
  /// undefined.
  [[nodiscard]] at::Tensor view(const std::string& name) const;
  /// A private copy, in the file's dtype.
  [[nodiscard]] at::Tensor read(const std::string& name) const;
  /// A private copy that must have `shape` (ShapeError-like FormatError otherwise) and be of a
  /// floating dtype; returned as `dtype`. Refuses values that are not finite, naming tensor and
  /// flat index.
  [[nodiscard]] at::Tensor read_checked(const std::string& name,
                                        const std::vector<int64_t>& shape,
                                        at::ScalarType dtype) const;

  /// Gives back the memory that reading tensor `name` through the map took. Its views stay valid:
  /// what they read again comes from the page cache or the disk.
  void release(const std::string& name) const;

  [[nodiscard]] const std::map<std::string, std::string>& metadata() const;
  [[nodiscard]] const std::filesystem::path& path() const;

 private:
  struct Impl;
  std::shared_ptr<const Impl> impl_;
};

/// A matrix that is made while it is written, so that it never stands in memory as a whole.
struct MadeTensor {
  std::string name;
  at::ScalarType dtype = at::kByte;
  int64_t rows = 0;
  int64_t columns = 0;
  /// Rows first to first + count - 1 as a CPU tensor [count, columns] of that dtype.
  std::function<at::Tensor(int64_t first, int64_t count)> make;
};

/// Writes CPU or CUDA tensors (made contiguous) to `path`: beside it first, fsynced, then renamed.
/// Throws IoError. The header is padded to 8 bytes; tensors stand in the given order, `made` behind
/// them.
LORSA_API void write_safetensors(const std::filesystem::path& path,
                                 const NamedTensors& tensors,
                                 const std::map<std::string, std::string>& metadata = {},
                                 const std::vector<MadeTensor>& made = {});

}  // namespace lorsa::io
