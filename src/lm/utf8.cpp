#include "lm/utf8.h"

#include <algorithm>
#include <bitset>

#include "lm/unicode_tables.h"
#include "lorsa/core/utf8.h"

namespace lorsa::lm {
namespace {

uint8_t byte_at(std::string_view text, size_t at) noexcept {
  return static_cast<uint8_t>(text[at]);
}

constexpr uint32_t kBlock = 64;

using Blocks = std::bitset<0x110000 / kBlock>;

// Blocks of code points that hold any stand-in: one bit test settles almost every character.
const Blocks& blocks_with_stand_ins() noexcept {
  static const Blocks blocks = [] {
    Blocks result;
    for (const StandIn& entry : stand_ins()) {
      for (uint32_t block = entry.first / kBlock; block <= entry.last / kBlock; ++block) {
        result.set(block);
      }
    }
    return result;
  }();
  return blocks;
}

const StandIn* find_stand_in(uint32_t code) noexcept {
  if (!blocks_with_stand_ins().test(code / kBlock)) {
    return nullptr;
  }
  const auto entries = stand_ins();
  const auto found = std::lower_bound(entries.begin(), entries.end(), code,
                                      [](const StandIn& a, uint32_t b) { return a.last < b; });
  return found != entries.end() && found->first <= code ? &*found : nullptr;
}

}  // namespace

Utf8Character decode_utf8(std::string_view text, size_t at) noexcept {
  const uint32_t lead = byte_at(text, at);
  const auto tail = [&](size_t i) { return uint32_t{byte_at(text, at + i)} & 0x3f; };
  if (lead < 0x80) {
    return {lead, 1};
  }
  if (lead < 0xe0) {
    return {(lead & 0x1f) << 6 | tail(1), 2};
  }
  if (lead < 0xf0) {
    return {(lead & 0x0f) << 12 | tail(1) << 6 | tail(2), 3};
  }
  return {(lead & 0x07) << 18 | tail(1) << 12 | tail(2) << 6 | tail(3), 4};
}

void append_utf8(uint32_t code, std::string& out) {
  const auto put = [&](uint32_t byte) { out.push_back(static_cast<char>(byte)); };
  if (code < 0x80) {
    put(code);
  } else if (code < 0x800) {
    put(0xc0 | code >> 6);
    put(0x80 | (code & 0x3f));
  } else if (code < 0x10000) {
    put(0xe0 | code >> 12);
    put(0x80 | (code >> 6 & 0x3f));
    put(0x80 | (code & 0x3f));
  } else {
    put(0xf0 | code >> 18);
    put(0x80 | (code >> 12 & 0x3f));
    put(0x80 | (code >> 6 & 0x3f));
    put(0x80 | (code & 0x3f));
  }
}

bool is_white_space(uint32_t code) noexcept {
  return (code >= 0x09 && code <= 0x0d) || code == 0x20 || code == 0x85 || code == 0xa0 ||
         code == 0x1680 || (code >= 0x2000 && code <= 0x200a) || code == 0x2028 || code == 0x2029 ||
         code == 0x202f || code == 0x205f || code == 0x3000;
}

bool is_numeric(uint32_t code) noexcept {
  if (code < 0x80) {
    return code >= '0' && code <= '9';
  }
  return in_ranges(numeric_ranges(), code);
}

bool has_stand_in(uint32_t code) noexcept {
  return find_stand_in(code) != nullptr;
}

std::string with_stand_ins(std::string_view text) {
  std::string result;
  for (size_t at = skip_ascii(text, 0); at < text.size(); at = skip_ascii(text, at)) {
    const Utf8Character character = decode_utf8(text, at);
    if (const StandIn* entry = find_stand_in(character.code)) {
      if (result.empty()) {
        result = text;
      }
      std::string use;
      append_utf8(entry->use, use);
      result.replace(at, use.size(), use);
    }
    at += character.size;
  }
  return result;
}

}  // namespace lorsa::lm
