#include "lm/hash_tables.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <bit>

namespace lorsa::lm {
namespace {

// Twice the entries, so that probes stay short.
size_t slots_for(size_t capacity) {
  return std::bit_ceil(2 * capacity + 16);
}

uint64_t pair_key(int32_t left, int32_t right) noexcept {
  return uint64_t{static_cast<uint32_t>(left)} << 32 | static_cast<uint32_t>(right);
}

}  // namespace

WordTable::WordTable(size_t capacity) : slots_(slots_for(capacity)) {}

bool WordTable::insert(std::string_view word, int32_t id) {
  const auto hash = static_cast<uint32_t>(XXH3_64bits(word.data(), word.size()));
  const size_t mask = slots_.size() - 1;
  size_t at = hash & mask;
  while (slots_[at].id >= 0) {
    if (holds(slots_[at], hash, word)) {
      return false;
    }
    at = (at + 1) & mask;
  }
  slots_[at] = {hash, id, bytes_.size(), word.size()};
  bytes_ += word;
  return true;
}

int32_t WordTable::find(std::string_view word) const noexcept {
  const auto hash = static_cast<uint32_t>(XXH3_64bits(word.data(), word.size()));
  const size_t mask = slots_.size() - 1;
  size_t at = hash & mask;
  while (slots_[at].id >= 0 && !holds(slots_[at], hash, word)) {
    at = (at + 1) & mask;
  }
  return slots_[at].id;
}

MergeTable::MergeTable(size_t capacity) : slots_(slots_for(capacity)) {}

size_t MergeTable::start(uint64_t pair) const noexcept {
  // Multiplicative hashing (Knuth): the high bits depend on all of the key.
  return static_cast<size_t>((pair * 0x9e3779b97f4a7c15ULL) >> 32) & (slots_.size() - 1);
}

void MergeTable::insert(int32_t left, int32_t right, Merge merge) {
  const uint64_t pair = pair_key(left, right);
  size_t at = start(pair);
  while (slots_[at].merge.id >= 0 && slots_[at].pair != pair) {
    at = (at + 1) & (slots_.size() - 1);
  }
  slots_[at] = {pair, merge};
}

Merge MergeTable::find(int32_t left, int32_t right) const noexcept {
  const uint64_t pair = pair_key(left, right);
  size_t at = start(pair);
  while (slots_[at].merge.id >= 0 && slots_[at].pair != pair) {
    at = (at + 1) & (slots_.size() - 1);
  }
  return slots_[at].merge;
}

}  // namespace lorsa::lm
