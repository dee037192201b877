#include "lm/bpe_merge.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <functional>
#include <queue>
#include <utility>

namespace lorsa::lm {
namespace {

// Measured with SmolLM2's merges on English and on random letters (one Xeon core, November 2026):
// the scan takes 0.64 of the heap's time at 8 units and less than all of it at 32; the two cross
// between 40 and 100.
constexpr size_t kScanLimit = 48;

struct Node {
  int32_t id;  // -1: merged into its left neighbour
  uint32_t previous;
  uint32_t next;
};

constexpr uint32_t kNone = ~uint32_t{0};

struct Candidate {
  uint64_t order;  // rank, then position: one comparison gives the tie rule
  int32_t id;

  [[nodiscard]] uint32_t position() const { return static_cast<uint32_t>(order); }

  bool operator>(const Candidate& other) const { return order > other.order; }
};

}  // namespace

void merge_ids(const MergeTable& merges, std::vector<int32_t>& ids, size_t first) {
  if (ids.size() - first <= kScanLimit) {
    merge_ids_by_scan(merges, ids, first);
  } else {
    merge_ids_by_heap(merges, ids, first);
  }
}

void merge_ids_by_scan(const MergeTable& merges, std::vector<int32_t>& ids, size_t first) {
  size_t count = ids.size() - first;
  if (count < 2) {
    return;
  }
  std::array<Merge, kScanLimit> fixed;
  std::vector<Merge> large(count > kScanLimit ? count : 0);
  Merge* const pairs = large.empty() ? fixed.data() : large.data();  // pair i: units i and i + 1
  int32_t* const unit = ids.data() + first;
  for (size_t i = 0; i + 1 < count; ++i) {
    pairs[i] = merges.find(unit[i], unit[i + 1]);
  }
  while (true) {
    size_t best = count;
    for (size_t i = 0; i + 1 < count; ++i) {
      if (pairs[i].id >= 0 && (best == count || pairs[i].rank < pairs[best].rank)) {
        best = i;
      }
    }
    if (best == count) {
      break;
    }
    unit[best] = pairs[best].id;
    std::copy(unit + best + 2, unit + count, unit + best + 1);
    std::copy(pairs + best + 1, pairs + count - 1, pairs + best);
    --count;
    if (best > 0) {
      pairs[best - 1] = merges.find(unit[best - 1], unit[best]);
    }
    if (best + 1 < count) {
      pairs[best] = merges.find(unit[best], unit[best + 1]);
    }
  }
  ids.resize(first + count);
}

void merge_ids_by_heap(const MergeTable& merges, std::vector<int32_t>& ids, size_t first) {
  const auto count = static_cast<uint32_t>(ids.size() - first);
  if (count < 2) {
    return;
  }
  std::vector<Node> nodes(count);
  for (uint32_t i = 0; i < count; ++i) {
    nodes[i] = {ids[first + i], i == 0 ? kNone : i - 1, i + 1 == count ? kNone : i + 1};
  }
  std::vector<Candidate> initial;
  const auto candidate = [&](uint32_t left, uint32_t right, auto&& push) {
    const Merge merge = merges.find(nodes[left].id, nodes[right].id);
    if (merge.id >= 0) {
      push(Candidate{uint64_t{merge.rank} << 32 | left, merge.id});
    }
  };
  for (uint32_t i = 0; i + 1 < count; ++i) {
    candidate(i, i + 1, [&](const Candidate& c) { initial.push_back(c); });
  }
  std::priority_queue<Candidate, std::vector<Candidate>, std::greater<>> queue(std::greater<>(),
                                                                               std::move(initial));
  const auto push = [&](const Candidate& c) { queue.push(c); };
  while (!queue.empty()) {
    const Candidate top = queue.top();
    queue.pop();
    const uint32_t at = top.position();
    Node& left = nodes[at];
    if (left.id < 0 || left.next == kNone) {
      continue;
    }
    const uint32_t right_at = left.next;
    // The entry is stale if either unit has merged since.
    if (merges.find(left.id, nodes[right_at].id).id != top.id) {
      continue;
    }
    left.id = top.id;
    left.next = nodes[right_at].next;
    nodes[right_at].id = -1;
    if (left.next != kNone) {
      nodes[left.next].previous = at;
      candidate(at, left.next, push);
    }
    if (left.previous != kNone) {
      candidate(left.previous, at, push);
    }
  }
  ids.resize(first);
  for (uint32_t i = 0; i != kNone; i = nodes[i].next) {
    ids.push_back(nodes[i].id);
  }
}

}  // namespace lorsa::lm
