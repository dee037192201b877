#include <ATen/ops/from_blob.h>
#include <ATen/ops/isfinite.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <cstdint>
#include <sstream>
#include <string_view>
#include <unordered_map>

#include "core/file_content.h"
#include "io/mapped_file.h"
#include "io/safetensors_dtype.h"
#include "io/safetensors_header.h"
#include "lorsa/core/error.h"
#include "lorsa/io/safetensors.h"

namespace lorsa::io {
namespace {

std::string shape_text(c10::IntArrayRef shape) {
  std::ostringstream out;
  out << shape;
  return out.str();
}

// Levenshtein distance, one row at a time.
size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) {
    row[j] = j;
  }
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, replaced});
    }
  }
  return row[b.size()];
}

}  // namespace

struct SafetensorsReader::Impl {
  explicit Impl(const std::filesystem::path& file_path)
      : path(file_path), file(file_path), header(read_header()) {
    for (size_t i = 0; i < header.tensors.size(); ++i) {
      index[header.tensors[i].name] = i;
    }
  }

  [[nodiscard]] SafetensorsHeader read_header() const {
    refuse_unfinished_download(path);
    try {
      return parse_safetensors_header(file.data(), file.size(), path);
    } catch (const FormatError&) {
      refuse_other_content(path, "a safetensors file", {Content::kSafetensors});
      throw;
    }
  }

  /// The entry of a tensor whose values or dtype are wanted.
  [[nodiscard]] const TensorEntry& find_readable(const std::string& name) const {
    const TensorEntry& entry = find(name);
    LORSA_CHECK(entry.dtype != c10::ScalarType::Undefined, FormatError,
                "{}: tensor \"{}\": dtype: expected one of {}, found {}", path, name,
                known_dtype_names(), entry.dtype_name);
    return entry;
  }

  [[nodiscard]] const TensorEntry& find(const std::string& name) const {
    const auto found = index.find(name);
    LORSA_CHECK(found != index.end(), FormatError,
                "{}: expected tensor \"{}\", none of that name; nearest: {}", path, name,
                nearest(name));
    return header.tensors[found->second];
  }

  [[nodiscard]] std::string nearest(const std::string& name) const {
    constexpr size_t kShown = 3;
    std::vector<std::pair<size_t, std::string>> ranked;
    for (const TensorEntry& entry : header.tensors) {
      ranked.emplace_back(edit_distance(name, entry.name), entry.name);
    }
    std::sort(ranked.begin(), ranked.end());
    std::string text;
    for (size_t i = 0; i < std::min(kShown, ranked.size()); ++i) {
      text += (i == 0 ? "" : ", ") + ranked[i].second;
    }
    return text.empty() ? "the file holds no tensors" : text;
  }

  std::filesystem::path path;
  MappedFile file;
  SafetensorsHeader header;
  std::unordered_map<std::string, size_t> index;
};

SafetensorsReader::SafetensorsReader(const std::filesystem::path& path)
    : impl_(std::make_shared<const Impl>(path)) {}

std::vector<std::string> SafetensorsReader::names() const {
  std::vector<std::string> names;
  for (const TensorEntry& entry : impl_->header.tensors) {
    names.push_back(entry.name);
  }
  return names;
}

bool SafetensorsReader::contains(const std::string& name) const {
  return impl_->index.contains(name);
}

std::vector<int64_t> SafetensorsReader::shape(const std::string& name) const {
  return impl_->find(name).shape;
}

at::ScalarType SafetensorsReader::dtype(const std::string& name) const {
  return impl_->find_readable(name).dtype;
}

at::Tensor SafetensorsReader::view(const std::string& name) const {
  const TensorEntry& entry = impl_->find_readable(name);
  const char* bytes = impl_->file.data() + entry.begin;
  if (entry.dtype == at::kBool) {
    const char* bad = std::find_if(bytes, impl_->file.data() + entry.end,
                                   [](char value) { return value != 0 && value != 1; });
    LORSA_CHECK(bad == impl_->file.data() + entry.end, FormatError,
                "{}: tensor \"{}\": expected bytes 0 and 1 in a BOOL tensor, found another at flat "
                "index {}",
                impl_->path, name, bad - bytes);
  }
  const at::Tensor tensor = at::from_blob(
      const_cast<char*>(bytes), entry.shape, [impl = impl_](void* /*data*/) {},
      at::TensorOptions().dtype(entry.dtype));
  // The format pads nothing between tensors, so data may lie at addresses that its type does not
  // allow.
  const bool aligned = reinterpret_cast<uintptr_t>(bytes) % c10::elementSize(entry.dtype) == 0;
  return aligned ? tensor : tensor.clone();
}

at::Tensor SafetensorsReader::read(const std::string& name) const {
  return view(name).clone();
}

at::Tensor SafetensorsReader::read_checked(const std::string& name,
                                           const std::vector<int64_t>& shape,
                                           at::ScalarType dtype) const {
  const TensorEntry& entry = impl_->find_readable(name);
  const std::string where = formatted("{}: tensor \"{}\"", impl_->path, name);
  LORSA_CHECK(c10::isFloatingType(entry.dtype), FormatError,
              "{}: dtype: expected F64, F32, F16 or BF16, found {}", where, entry.dtype_name);
  LORSA_CHECK(entry.shape == shape, FormatError, "{}: shape: expected {}, found {}", where,
              shape_text(shape), shape_text(entry.shape));
  const at::Tensor source = view(name);
  at::Tensor result = source.to(dtype, /*non_blocking=*/false, /*copy=*/true);
  // Checked after the conversion: float16 cannot hold every float32.
  const at::Tensor finite = at::isfinite(result).flatten();
  if (!finite.all().item<bool>()) {
    const auto index = finite.logical_not().to(at::kByte).argmax().item<int64_t>();
    throw FormatError(formatted("{}: expected finite values, found {} at flat index {}{}", where,
                                source.flatten()[index].item<double>(), index,
                                entry.dtype == dtype ? "" : " (converted)"));
  }
  return result;
}

void SafetensorsReader::release(const std::string& name) const {
  const TensorEntry& entry = impl_->find(name);
  impl_->file.release(entry.begin, entry.end);
}

const std::map<std::string, std::string>& SafetensorsReader::metadata() const {
  return impl_->header.metadata;
}

const std::filesystem::path& SafetensorsReader::path() const {
  return impl_->path;
}

}  // namespace lorsa::io
