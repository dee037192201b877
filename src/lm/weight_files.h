#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "lorsa/io/safetensors.h"

namespace lorsa::lm {

/// The weights of a Hugging Face folder: model.safetensors, or the shards that
/// model.safetensors.index.json names.
///
/// Where both are there the single file is read, as transformers does, with a warning. The
/// constructor opens and checks every file. Throws FormatError or IoError, which say what the
/// folder has instead and name all shards that are missing.
class WeightFiles {
 public:
  explicit WeightFiles(const std::filesystem::path& folder);

  /// Tensor `name` as `dtype` on `device`. Where that is how it is stored, on the CPU, it is a view
  /// of the file's mapping: read only, no memory of its own. The memory that reading the file took
  /// is given back. FormatError for an absent name,
  /// another shape, a stored dtype other than float32, bfloat16 or float16, or a value that is not
  /// finite.
  [[nodiscard]] at::Tensor load(const std::string& name,
                                const std::vector<int64_t>& shape,
                                at::ScalarType dtype,
                                c10::Device device) const;

  /// Gives back the memory that reading a view of tensor `name` took; the view stays valid.
  void release(const std::string& name) const;

  /// The dtype that tensor `name` is stored in. FormatError as load().
  [[nodiscard]] at::ScalarType stored_dtype(const std::string& name) const;

  /// All weight files, in name order.
  [[nodiscard]] const std::vector<std::filesystem::path>& paths() const { return paths_; }

 private:
  [[nodiscard]] const io::SafetensorsReader& reader_of(const std::string& name) const;
  /// FormatError if tensors beside `name` say that it is quantised.
  void refuse_quantised(const std::string& name) const;
  void open_shards(const std::filesystem::path& index);

  std::filesystem::path folder_;
  std::vector<std::filesystem::path> paths_;
  std::vector<io::SafetensorsReader> readers_;  // one for each path
  std::map<std::string, size_t> shard_of_;      // empty for a single file
};

/// SHA-256 of the weight file, hex; of several, that of the lines "<digest>  <name>" in their
/// order.
[[nodiscard]] std::string weights_digest(const std::vector<std::filesystem::path>& paths);

}  // namespace lorsa::lm
