#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace lorsa::lm {

/// Words to ids: open addressing, since looking words up is most of what encoding does. The bytes
/// of the keys lie in one buffer.
class WordTable {
 public:
  /// Room for `capacity` words.
  explicit WordTable(size_t capacity);

  /// False if the word is there already.
  bool insert(std::string_view word, int32_t id);

  /// The word's id or -1.
  [[nodiscard]] int32_t find(std::string_view word) const noexcept;

 private:
  struct Slot {
    uint32_t hash = 0;
    int32_t id = -1;  // -1: free
    size_t begin = 0;
    size_t size = 0;
  };

  [[nodiscard]] bool holds(const Slot& slot, uint32_t hash, std::string_view word) const noexcept {
    return slot.hash == hash && std::string_view(bytes_).substr(slot.begin, slot.size) == word;
  }

  std::string bytes_;
  std::vector<Slot> slots_;
};

/// What a pair of adjacent tokens becomes.
struct Merge {
  uint32_t rank = 0;
  int32_t id = -1;  ///< -1: the pair does not merge
};

/// Pairs of ids to merges.
class MergeTable {
 public:
  explicit MergeTable(size_t capacity);

  /// A pair given twice keeps the later merge, as in the tokenizers package.
  void insert(int32_t left, int32_t right, Merge merge);

  [[nodiscard]] Merge find(int32_t left, int32_t right) const noexcept;

 private:
  struct Slot {
    uint64_t pair = ~uint64_t{0};  // ids are below 2^31: never a pair
    Merge merge;
  };

  [[nodiscard]] size_t start(uint64_t pair) const noexcept;

  std::vector<Slot> slots_;
};

}  // namespace lorsa::lm
