#include "lm/byte_level.h"

#include "lm/utf8.h"

namespace lorsa::lm {
namespace {

bool is_printable(uint32_t byte) {
  return (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
}

}  // namespace

const std::array<uint32_t, 256>& byte_level_characters() {
  static const std::array<uint32_t, 256> characters = [] {
    std::array<uint32_t, 256> result{};
    uint32_t next = 256;
    for (uint32_t byte = 0; byte < 256; ++byte) {
      result[byte] = is_printable(byte) ? byte : next++;
    }
    return result;
  }();
  return characters;
}

std::optional<std::string> byte_level_bytes(std::string_view token) {
  // 256 + 68 characters in all; -1 where none.
  static const std::array<int16_t, 512> bytes = [] {
    std::array<int16_t, 512> result{};
    result.fill(-1);
    for (size_t byte = 0; byte < 256; ++byte) {
      result[byte_level_characters()[byte]] = static_cast<int16_t>(byte);
    }
    return result;
  }();
  std::string result;
  result.reserve(token.size());
  for (size_t at = 0; at < token.size();) {
    const Utf8Character character = decode_utf8(token, at);
    if (character.code >= bytes.size() || bytes[character.code] < 0) {
      return std::nullopt;
    }
    result.push_back(static_cast<char>(bytes[character.code]));
    at += character.size;
  }
  return result;
}

}  // namespace lorsa::lm
