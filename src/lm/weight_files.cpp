#include "lm/weight_files.h"

#include <ATen/ATen.h>
#include <openssl/sha.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <set>
#include <string_view>

#include "core/file_content.h"
#include "lm/model_folder.h"
#include "lorsa/core/error.h"
#include "lorsa/core/log.h"
#include "lorsa/io/checksum.h"
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

/// What the names of a quantised weight's companions end in: GPTQ and AWQ, FP8 and
/// compressed-tensors, bitsandbytes, MLX.
constexpr std::array kQuantised = {".qweight",       ".weight_scale",  ".weight_scale_inv",
                                   ".weight_packed", ".weight.absmax", ".weight.quant_map",
                                   ".SCB",           ".scales"};

/// The files that an index names, each once.
std::set<std::string> files_of(const io::Json& map, const std::string& where) {
  std::set<std::string> files;
  for (const auto& [tensor, file] : map.items()) {
    LORSA_CHECK(file.is_string(), FormatError, "{}: weight_map: {}: not a string", where, tensor);
    const auto name = file.get<std::string>();
    // A shard lies in the model's own folder; anything else would read where the user did not
    // point.
    LORSA_CHECK(!name.empty() && std::filesystem::path(name).filename() == name && name != ".." &&
                    name != ".",
                FormatError, "{}: weight_map: {}: \"{}\" is not a file name", where, tensor, name);
    files.insert(name);
  }
  return files;
}

/// Refuses an index of which files are missing, naming them all.
void check_shards_there(const std::filesystem::path& folder,
                        const std::set<std::string>& files,
                        const std::string& where) {
  std::string missing;
  size_t count = 0;
  std::string why;
  for (const std::string& name : files) {
    if (!is_there(folder / name)) {
      missing += (missing.empty() ? "" : ", ") + name;
      ++count;
      why = why.empty() ? why_absent(folder / name) : why;
    }
  }
  LORSA_CHECK(count == 0, FormatError, "{}: expected {} files, found all but {}: {}{}", where,
              files.size(), count, missing, why.empty() ? "; is the download complete?" : why);
}

/// transformers, too, reads the single file where both are there; two sets of weights may differ.
void warn_of_both(const std::filesystem::path& folder) {
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(folder, ignored)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with("model-") && name.ends_with(".safetensors")) {
      log_warning("{}: is read; the shards beside it, {}, are not", (folder / kSingle), name);
      break;
    }
  }
  if (is_there(folder / "adapter_config.json")) {
    log_warning(
        "{}: the adapter beside the weights (adapter_config.json) is not applied: merge it first "
        "if it is meant",
        folder);
  }
}

}  // namespace

WeightFiles::WeightFiles(const std::filesystem::path& folder) : folder_(folder) {
  // A link to nothing counts: opening it says what is wrong.
  if (is_there(folder / kSingle)) {
    warn_of_both(folder);
    paths_.push_back(folder / kSingle);
    readers_.emplace_back(paths_.back());
  } else if (is_there(folder / kIndex)) {
    open_shards(folder / kIndex);
  } else {
    refuse_without_weights(folder);
  }
}

void WeightFiles::open_shards(const std::filesystem::path& index) {
  const std::string where = index.string();
  const auto map = io::member<io::Json>(io::read_json(index), "weight_map", where);
  LORSA_CHECK(map.is_object() && !map.empty(), FormatError,
              "{}: weight_map: expected an object of tensor names", where);
  const std::set<std::string> files = files_of(map, where);
  check_shards_there(folder_, files, where);
  for (const std::string& name : files) {
    paths_.push_back(folder_ / name);
    readers_.emplace_back(paths_.back());
  }
  for (const auto& [tensor, file] : map.items()) {
    const auto name = file.get<std::string>();
    const auto shard = static_cast<size_t>(std::distance(files.begin(), files.find(name)));
    LORSA_CHECK(readers_[shard].contains(tensor), FormatError,
                "{}: tensor {} is said to be in {}, which does not hold it", where, tensor, name);
    shard_of_[tensor] = shard;
  }
}

void WeightFiles::refuse_quantised(const std::string& name) const {
  constexpr std::string_view kWeight = ".weight";
  const std::string base =
      name.ends_with(kWeight) ? name.substr(0, name.size() - kWeight.size()) : name;
  for (const char* suffix : kQuantised) {
    const std::string companion = base + suffix;
    const bool quantised =
        shard_of_.empty() ? readers_.front().contains(companion) : shard_of_.contains(companion);
    LORSA_CHECK(!quantised, FormatError,
                "{}: expected plain weights, found {}: quantised; use a folder of float32, "
                "bfloat16 or float16",
                folder_, companion);
  }
}

const io::SafetensorsReader& WeightFiles::reader_of(const std::string& name) const {
  refuse_quantised(name);
  if (shard_of_.empty()) {
    return readers_.front();
  }
  const auto found = shard_of_.find(name);
  LORSA_CHECK(found != shard_of_.end(), FormatError, "{}: weight_map has no tensor {}",
              (folder_ / kIndex), name);
  return readers_[found->second];
}

at::ScalarType WeightFiles::stored_dtype(const std::string& name) const {
  const io::SafetensorsReader& reader = reader_of(name);
  const at::ScalarType stored = reader.dtype(name);
  LORSA_CHECK(stored == at::kFloat || stored == at::kBFloat16 || stored == at::kHalf, FormatError,
              "{}: {}: expected float32, bfloat16 or float16, found {}", reader.path(), name,
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
  LORSA_CHECK(found == shape, FormatError,
              "{}: tensor {}: expected shape {} (from config.json), found {}", reader.path(), name,
              at::IntArrayRef(shape), at::IntArrayRef(found));
  static_cast<void>(stored_dtype(name));
  at::Tensor result = reader.view(name).to(device, dtype);
  require_finite(result, reader, name, shape);
  reader.release(name);
  return result;
}

std::string weights_digest(const std::vector<std::filesystem::path>& paths) {
  if (paths.size() == 1) {
    return io::file_sha256(paths.front());
  }
  std::string lines;
  for (const std::filesystem::path& path : paths) {
    lines += formatted("{}  {}\n", io::file_sha256(path), path.filename());
  }
  std::array<unsigned char, SHA256_DIGEST_LENGTH> digest{};
  // The char types may alias; OpenSSL wants unsigned bytes.
  SHA256(reinterpret_cast<const unsigned char*>(lines.data()), lines.size(), digest.data());
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string hex;
  for (const unsigned char byte : digest) {
    hex += kDigits[byte >> 4U];
    hex += kDigits[byte & 15U];
  }
  return hex;
}

}  // namespace lorsa::lm
