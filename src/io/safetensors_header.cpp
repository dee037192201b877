// safetensors: 8 bytes little-endian header length, a JSON object, then the tensors' bytes. The
// header comes from strangers: nothing of it is used before it is checked against the file's size.
#include "io/safetensors_header.h"

#include <algorithm>
#include <cstring>

#include "io/safetensors_dtype.h"
#include "lorsa/core/error.h"
#include "lorsa/io/json.h"

namespace lorsa::io {
namespace {

constexpr size_t kLengthBytes = 8;
// The reference implementation's limit.
constexpr uint64_t kMaxHeaderBytes = 100'000'000;

std::string quoted(const std::string& name) {
  return "tensor \"" + name + "\"";
}

std::string text_header(const char* data, size_t size, const std::string& where) {
  LORSA_CHECK(size >= kLengthBytes, FormatError,
              "{}: expected 8 bytes of header length, found a file of {} bytes", where, size);
  uint64_t length = 0;
  std::memcpy(&length, data, kLengthBytes);
  LORSA_CHECK(length <= kMaxHeaderBytes && length <= size - kLengthBytes, FormatError,
              "{}: expected a header of at most {} bytes, found a header length of {} (a cut file "
              "or no safetensors file)",
              where, std::min<uint64_t>(size - kLengthBytes, kMaxHeaderBytes), length);
  return std::string(data + kLengthBytes, length);
}

std::vector<int64_t> shape_of(const Json& value, const std::string& where) {
  LORSA_CHECK(value.is_array(), FormatError, "{}: shape: expected a list of numbers, found {}",
              where, value.type_name());
  std::vector<int64_t> shape;
  for (const Json& size : value) {
    LORSA_CHECK(size.is_number_unsigned() && size.get<uint64_t>() <= uint64_t{INT64_MAX},
                FormatError, "{}: shape: expected whole numbers below 2^63, found {}", where,
                size.dump());
    shape.push_back(size.get<int64_t>());
  }
  return shape;
}

size_t byte_size(const std::vector<int64_t>& shape, size_t bits, const std::string& where) {
  // int64, because ATen counts bytes in it. A size of 0 does not excuse an overflow beside it.
  // Elements of less than a byte are counted as bytes first.
  int64_t bytes = bits < 8 ? 1 : static_cast<int64_t>(bits / 8);
  bool empty = false;
  for (const int64_t size : shape) {
    empty = empty || size == 0;
    LORSA_CHECK(size == 0 || !__builtin_mul_overflow(bytes, size, &bytes), FormatError,
                "{}: expected a shape whose bytes fit 63 bits, found an overflow", where);
  }
  const size_t count = empty ? 0 : static_cast<size_t>(bytes);
  if (bits % 8 == 0) {
    return count;
  }
  LORSA_CHECK(count % 8 * bits % 8 == 0, FormatError,
              "{}: expected elements of {} bits in whole bytes, found {}", where, bits, count);
  return count / 8 * bits + count % 8 * bits / 8;
}

/// Bytes of the whole file if the header is right: what a cut file had before.
uint64_t bytes_by_header(const Json& header, size_t data_begin) {
  uint64_t last = 0;
  for (const auto& [name, value] : header.items()) {
    const auto offsets = value.is_object() ? value.find("data_offsets") : value.end();
    const bool has_end = value.is_object() && offsets != value.end() && offsets->is_array() &&
                         offsets->size() == 2 && (*offsets)[1].is_number_unsigned();
    last = std::max(last, has_end ? (*offsets)[1].get<uint64_t>() : 0);
  }
  return data_begin + last;
}

TensorEntry entry_of(const std::string& name,
                     const Json& value,
                     size_t data_begin,
                     size_t data_bytes,
                     uint64_t expected_file_bytes,
                     const std::string& file) {
  const std::string where = file + ": " + quoted(name);
  TensorEntry entry;
  entry.name = name;
  entry.dtype_name = member<std::string>(value, "dtype", where);
  const auto dtype = dtype_of_name(entry.dtype_name);
  entry.dtype = dtype ? dtype->scalar : c10::ScalarType::Undefined;
  entry.shape = shape_of(member<Json>(value, "shape", where), where);
  const Json offsets = member<Json>(value, "data_offsets", where);
  LORSA_CHECK(offsets.is_array() && offsets.size() == 2 && offsets[0].is_number_unsigned() &&
                  offsets[1].is_number_unsigned(),
              FormatError, "{}: data_offsets: expected [begin, end], not {}", where,
              offsets.dump());
  const auto begin = offsets[0].get<uint64_t>();
  const auto end = offsets[1].get<uint64_t>();
  LORSA_CHECK(begin <= end && end <= data_bytes, FormatError,
              "{}: data_offsets: expected a range inside the {} bytes of data that the file has, "
              "found [{}, {}] (a cut file? Its header is that of {} bytes, found {})",
              where, data_bytes, begin, end, expected_file_bytes, data_begin + data_bytes);
  // Of dtypes that a later version of the format may have, the size is not known.
  const size_t expected = dtype ? byte_size(entry.shape, dtype->bits, where) : end - begin;
  LORSA_CHECK(end - begin == expected, FormatError,
              "{}: expected {} bytes for shape and dtype, found {}", where, expected, end - begin);
  entry.begin = data_begin + begin;
  entry.end = data_begin + end;
  return entry;
}

void check_tiling(const std::vector<TensorEntry>& tensors,
                  size_t data_begin,
                  size_t file_bytes,
                  const std::string& where) {
  size_t next = data_begin;
  std::string before = "the header";
  for (const TensorEntry& entry : tensors) {
    LORSA_CHECK(entry.begin == next, FormatError,
                "{}: {}: expected its data at byte {}, right behind {}, found byte {}{}", where,
                quoted(entry.name), next - data_begin, before, entry.begin - data_begin,
                entry.begin < next ? " (overlapping ranges)" : " (a gap)");
    next = entry.end;
    before = quoted(entry.name);
  }
  LORSA_CHECK(next == file_bytes, FormatError,
              "{}: expected {} bytes, found {} (bytes that belong to no tensor)", where, next,
              file_bytes);
}

}  // namespace

SafetensorsHeader parse_safetensors_header(const char* data,
                                           size_t size,
                                           const std::filesystem::path& path) {
  const std::string text = text_header(data, size, path.string());
  const std::string where = path.string() + ": header";
  const Json json = parse_json(text, where);
  LORSA_CHECK(json.is_object(), FormatError, "{}: expected an object, not {}", where,
              json.type_name());
  const size_t data_begin = kLengthBytes + text.size();
  const uint64_t expected_bytes = bytes_by_header(json, data_begin);
  SafetensorsHeader header;
  for (const auto& [name, value] : json.items()) {
    if (name != "__metadata__") {
      header.tensors.push_back(
          entry_of(name, value, data_begin, size - data_begin, expected_bytes, path.string()));
      continue;
    }
    LORSA_CHECK(value.is_object(), FormatError, "{}: __metadata__: expected an object", where);
    for (const auto& [key, unused] : value.items()) {
      header.metadata[key] = member<std::string>(value, key, where + ": __metadata__");
    }
  }
  std::stable_sort(header.tensors.begin(), header.tensors.end(),
                   [](const auto& left, const auto& right) {
                     return std::pair(left.begin, left.end) < std::pair(right.begin, right.end);
                   });
  check_tiling(header.tensors, data_begin, size, path.string());
  return header;
}

}  // namespace lorsa::io
