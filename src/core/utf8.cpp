#include "lorsa/core/utf8.h"

#include <cstdint>
#include <cstring>

namespace lorsa {
namespace {

constexpr uint64_t kHighBits = 0x8080808080808080ULL;

uint8_t byte_at(std::string_view text, size_t at) noexcept {
  return static_cast<uint8_t>(text[at]);
}

struct Sequence {
  size_t size;  // bytes that belong together: the character, or the ill-formed part
  bool valid;
};

// Table 3-7 of the Unicode standard; `at` holds a byte >= 0x80.
Sequence read_sequence(std::string_view text, size_t at) noexcept {
  const uint8_t lead = byte_at(text, at);
  size_t size = 0;
  uint8_t low = 0x80;
  uint8_t high = 0xbf;
  if (lead >= 0xc2 && lead <= 0xdf) {
    size = 2;
  } else if (lead >= 0xe0 && lead <= 0xef) {
    size = 3;
    low = lead == 0xe0 ? 0xa0 : low;
    high = lead == 0xed ? 0x9f : high;
  } else if (lead >= 0xf0 && lead <= 0xf4) {
    size = 4;
    low = lead == 0xf0 ? 0x90 : low;
    high = lead == 0xf4 ? 0x8f : high;
  } else {
    return {1, false};
  }
  for (size_t i = 1; i < size; ++i) {
    if (at + i >= text.size() || byte_at(text, at + i) < low || byte_at(text, at + i) > high) {
      return {i, false};
    }
    low = 0x80;
    high = 0xbf;
  }
  return {size, true};
}

}  // namespace

size_t skip_ascii(std::string_view text, size_t at) noexcept {
  while (at + 8 <= text.size()) {
    uint64_t eight = 0;
    std::memcpy(&eight, text.data() + at, 8);
    if ((eight & kHighBits) != 0) {
      break;
    }
    at += 8;
  }
  while (at < text.size() && byte_at(text, at) < 0x80) {
    ++at;
  }
  return at;
}

size_t find_invalid_utf8(std::string_view text) noexcept {
  for (size_t at = skip_ascii(text, 0); at < text.size(); at = skip_ascii(text, at)) {
    const Sequence sequence = read_sequence(text, at);
    if (!sequence.valid) {
      return at;
    }
    at += sequence.size;
  }
  return std::string_view::npos;
}

std::string replace_invalid_utf8(std::string_view bytes) {
  std::string result;
  size_t at = 0;
  while (at < bytes.size()) {
    const size_t next = skip_ascii(bytes, at);
    result.append(bytes, at, next - at);
    at = next;
    if (at < bytes.size()) {
      const Sequence sequence = read_sequence(bytes, at);
      result.append(sequence.valid ? bytes.substr(at, sequence.size) : "\xef\xbf\xbd");
      at += sequence.size;
    }
  }
  return result;
}

}  // namespace lorsa
