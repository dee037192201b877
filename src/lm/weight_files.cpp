#include "lm/weight_files.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "lorsa/core/error.h"
#include "lorsa/io/json.h"

namespace lorsa::lm {
namespace {

constexpr const char* kSingle = "model.safetensors";
constexpr const char* kIndex = "model.safetensors.index.json";

/// One pass over the values; only where the sum is not finite does the reader look for the culprit
/// (a sum of finite values can overflow).
void require_finite(const at::Tensor& loaded,
                    const io::SafetensorsReader& reader,
                    const std::string& name,
                    const std::vector<int64_t>& shape) {
  if (!std::isfinite(loaded.sum(at::kFloat).item<float>())) {
    static_cast<void>(reader.read_checked(name, shape, at::kFloat));
  }
}

}  // namespace

WeightFiles::WeightFiles(const std::filesystem::path& folder) : folder_(folder) {
  if (std::filesystem::exists(folder / kSingle)) {
    paths_.push_back(folder / kSingle);
    readers_.emplace_back(paths_.back());
  } else if (std::filesystem::exists(folder / kIndex)) {
    open_shards(folder / kIndex);
  } else {
    throw FormatError(concat(folder.string(),
                             ": expected ",
                             kSingle,
                             " or ",
                             kIndex,
                             ", found neither (other weight formats are not read)"));
  }
}

void WeightFiles::open_shards(const std::filesystem::path& index) {
  const std::string where = index.string();
  const auto map = io::member<io::Json>(io::read_json(index), "weight_map", where);
  LORSA_CHECK(map.is_object() && !map.empty(),
              FormatError,
              where,
              ": weight_map: expected an object of tensor names");
  std::map<std::string, std::string> file_of;
  std::set<std::string> files;
  for (const auto& [tensor, file] : map.items()) {
    LORSA_CHECK(file.is_string(), FormatError, where, ": weight_map: ", tensor, ": not a string");
    const auto name = file.get<std::string>();
    // A shard lies in the model's own folder; anything else would read where the user did not
    // point.
    LORSA_CHECK(!name.empty() && std::filesystem::path(name).filename() == name && name != ".." &&
                    name != ".",
                FormatError,
                where,
                ": weight_map: ",
                tensor,
                ": \"",
                name,
                "\" is not a file name");
    LORSA_CHECK(std::filesystem::exists(folder_ / name),
                FormatError,
                where,
                ": tensor ",
                tensor,
                " is said to be in ",
                name,
                ", but that file is not there: is the download complete?");
    file_of[tensor] = name;
    files.insert(name);
  }
  for (const std::string& name : files) {
    paths_.push_back(folder_ / name);
    readers_.emplace_back(paths_.back());
  }
  for (const auto& [tensor, name] : file_of) {
    const auto shard = static_cast<size_t>(std::distance(files.begin(), files.find(name)));
    LORSA_CHECK(readers_[shard].contains(tensor),
                FormatError,
                where,
                ": tensor ",
                tensor,
                " is said to be in ",
                name,
                ", but that file does not hold it");
    shard_of_[tensor] = shard;
  }
}

const io::SafetensorsReader& WeightFiles::reader_of(const std::string& name) const {
  if (shard_of_.empty()) {
    return readers_.front();
  }
  const auto found = shard_of_.find(name);
  LORSA_CHECK(found != shard_of_.end(),
              FormatError,
              (folder_ / kIndex).string(),
              ": weight_map has no tensor ",
              name);
  return readers_[found->second];
}

at::ScalarType WeightFiles::stored_dtype(const std::string& name) const {
  const io::SafetensorsReader& reader = reader_of(name);
  const at::ScalarType stored = reader.dtype(name);
  LORSA_CHECK(stored == at::kFloat || stored == at::kBFloat16 || stored == at::kHalf,
              FormatError,
              reader.path().string(),
              ": tensor ",
              name,
              ": expected float32, bfloat16 or float16, found ",
              stored);
  return stored;
}

void WeightFiles::release(const std::string& name) const {
  reader_of(name).release(name);
}

at::Tensor WeightFiles::load(const std::string& name,
                             const std::vector<int64_t>& shape,
                             at::ScalarType dtype,
                             c10::Device device) const {
  const io::SafetensorsReader& reader = reader_of(name);
  const std::vector<int64_t> found = reader.shape(name);
  LORSA_CHECK(found == shape,
              FormatError,
              reader.path().string(),
              ": tensor ",
              name,
              ": expected shape ",
              at::IntArrayRef(shape),
              " (from config.json), found ",
              at::IntArrayRef(found));
  static_cast<void>(stored_dtype(name));
  at::Tensor result = reader.view(name).to(device, dtype);
  require_finite(result, reader, name, shape);
  reader.release(name);
  return result;
}

}  // namespace lorsa::lm
