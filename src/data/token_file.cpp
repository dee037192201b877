#include "data/token_file.h"

#include <fcntl.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>
#include <string>
#include <string_view>

#include "lorsa/core/error.h"

namespace lorsa::data {
namespace {

constexpr int64_t kBlockIds = int64_t{1} << 16;

int64_t bytes_of(TokenDtype dtype) {
  switch (dtype) {
    case TokenDtype::kUInt16:
      return 2;
    case TokenDtype::kUInt32:
    case TokenDtype::kInt32:
      return 4;
    case TokenDtype::kInt64:
      break;
  }
  return 8;
}

/// The id at `bytes`; out of the range of int32 if it does not fit there.
int64_t id_at(const char* bytes, TokenDtype dtype) {
  const auto as = [&](auto value) {
    std::memcpy(&value, bytes, sizeof(value));
    return static_cast<int64_t>(value);
  };
  switch (dtype) {
    case TokenDtype::kUInt16:
      return as(uint16_t{});
    case TokenDtype::kUInt32:
      return as(uint32_t{});
    case TokenDtype::kInt32:
      return as(int32_t{});
    case TokenDtype::kInt64:
      break;
  }
  return as(int64_t{});
}

/// The text behind `'key':` in a .npy header, up to `end`.
std::string header_value(const std::string& header,
                         const std::string& key,
                         char end,
                         const std::string& where) {
  const std::string label = "'" + key + "':";
  const size_t at = header.find(label);
  const size_t first =
      at == std::string::npos ? at : header.find_first_not_of(' ', at + label.size());
  const size_t last = first == std::string::npos ? first : header.find(end, first);
  LORSA_CHECK(last != std::string::npos, FormatError,
              "{}: expected {} in the header of a .npy file, found \"{}\"", where, key, header);
  return header.substr(first, last - first);
}

TokenDtype npy_dtype(const std::string& text, const std::string& where) {
  constexpr std::array<std::pair<std::string_view, TokenDtype>, 4> kNames = {
      {{"'<u2'", TokenDtype::kUInt16},
       {"'<u4'", TokenDtype::kUInt32},
       {"'<i4'", TokenDtype::kInt32},
       {"'<i8'", TokenDtype::kInt64}}};
  const auto* found = std::find_if(kNames.begin(), kNames.end(),
                                   [&](const auto& name) { return name.first == text; });
  LORSA_CHECK(found != kNames.end(), FormatError,
              "{}: expected ids of dtype '<u2', '<u4', '<i4' or '<i8', found {}", where, text);
  return found->second;
}

std::vector<int64_t> npy_shape(const std::string& text, const std::string& where) {
  std::vector<int64_t> shape;
  std::string number;
  for (const char c : text + ",") {
    if (c >= '0' && c <= '9') {
      number += c;
    } else if (c == ',' && !number.empty()) {
      shape.push_back(number.size() <= 18 ? std::stoll(number) : -1);
      number.clear();
    }
  }
  LORSA_CHECK((shape.size() == 1 || shape.size() == 2) &&
                  std::all_of(shape.begin(), shape.end(), [](int64_t size) { return size > 0; }),
              FormatError, "{}: expected one or two dimensions, found {})", where, text);
  return shape;
}

}  // namespace

TokenFile::TokenFile(const std::filesystem::path& path, TokenDtype dtype)
    : path_(path), dtype_(dtype), file_(path, O_RDONLY) {
  const bool npy = path.extension() == ".npy";
  if (npy) {
    read_npy_header();
  }
  const int64_t size = static_cast<int64_t>(file_.size(path)) - data_offset_;
  const int64_t width = bytes_of(dtype_);
  if (!npy) {
    LORSA_CHECK(size % width == 0, FormatError,
                "{}: expected ids of {} bytes (data.token_dtype), found {} bytes", path, width,
                size);
    num_ids_ = size / width;
  }
  LORSA_CHECK(num_ids_ > 0 && num_ids_ <= size / width && num_ids_ * width == size, FormatError,
              "{}: expected {} ids of {} bytes, found {} bytes", path, num_ids_, width, size);
}

void TokenFile::read_npy_header() {
  const std::string where = path_.string();
  std::array<unsigned char, 12> start{};
  const size_t got = io::pread_all(file_, start.data(), start.size(), 0, path_);
  const bool magic = got == start.size() && std::memcmp(start.data(), "\x93NUMPY", 6) == 0;
  LORSA_CHECK(magic && start[6] >= 1 && start[6] <= 3, FormatError,
              "{}: expected a .npy file of version 1 to 3, found another beginning", where);
  const bool first_version = start[6] == 1;
  uint64_t size = start[8] | uint64_t{start[9]} << 8;
  if (!first_version) {
    size |= uint64_t{start[10]} << 16 | uint64_t{start[11]} << 24;
  }
  const uint64_t begin = first_version ? 10 : 12;
  LORSA_CHECK(begin + size <= file_.size(path_), FormatError,
              "{}: expected a header of {} bytes, found the end of the file", where, size);
  std::string header(size, '\0');
  io::pread_exact(file_, header.data(), header.size(), begin, path_, "header");
  dtype_ = npy_dtype(header_value(header, "descr", ',', where), where);
  const std::string order = header_value(header, "fortran_order", ',', where);
  LORSA_CHECK(order == "False", FormatError, "{}: expected fortran_order False, not {}", where,
              order);
  const auto shape = npy_shape(header_value(header, "shape", ')', where), where);
  row_ = shape.size() == 2 ? shape[1] : 0;
  const int64_t rows = shape.size() == 2 ? shape[0] : 1;
  const int64_t width = shape.back();
  LORSA_CHECK(width <= std::numeric_limits<int64_t>::max() / 8 / rows, FormatError,
              "{}: expected a shape that fits into a file, found more", where);
  num_ids_ = rows * width;
  data_offset_ = static_cast<int64_t>(begin + size);
}

void TokenFile::fill() {
  const int64_t count = std::min(kBlockIds, num_ids_ - read_);
  const int64_t width = bytes_of(dtype_);
  std::vector<char> bytes(static_cast<size_t>(count * width));
  io::pread_exact(file_, bytes.data(), bytes.size(),
                  static_cast<uint64_t>(data_offset_ + read_ * width), path_, "ids");
  block_.resize(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) {
    const int64_t id = id_at(bytes.data() + i * width, dtype_);
    LORSA_CHECK(id >= 0 && id <= std::numeric_limits<int32_t>::max(), FormatError,
                "{}: id {}: expected a number in [0, 2^31), found {}", path_, read_ + i, id);
    block_[static_cast<size_t>(i)] = static_cast<int32_t>(id);
  }
  read_ += count;
  next_in_block_ = 0;
}

std::optional<std::vector<int32_t>> TokenFile::next(std::optional<int32_t> separator) {
  const auto longest = static_cast<size_t>(row_ > 0 ? row_ : kMaxDocumentTokens);
  std::vector<int32_t> ids;
  bool any = false;
  while (ids.size() < longest) {
    if (next_in_block_ == block_.size()) {
      if (read_ == num_ids_) {
        break;
      }
      fill();
    }
    any = true;
    const auto first = block_.begin() + static_cast<std::ptrdiff_t>(next_in_block_);
    const size_t most = std::min(block_.size() - next_in_block_, longest - ids.size());
    const auto last = first + static_cast<std::ptrdiff_t>(most);
    const auto end = row_ == 0 && separator ? std::find(first, last, *separator) : last;
    ids.insert(ids.end(), first, end);
    next_in_block_ += static_cast<size_t>(end - first);
    if (end != last) {
      ++next_in_block_;
      break;
    }
  }
  return any ? std::optional(std::move(ids)) : std::nullopt;
}

int64_t TokenFile::most_tokens() const {
  return num_ids_ + (row_ > 0 ? num_ids_ / row_ : num_ids_ / kMaxDocumentTokens);
}

int64_t TokenFile::bytes_read() const {
  const auto ahead = static_cast<int64_t>(block_.size() - next_in_block_);
  return data_offset_ + (read_ - ahead) * bytes_of(dtype_);
}

}  // namespace lorsa::data
