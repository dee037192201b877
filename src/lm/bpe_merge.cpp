#include "lm/bpe_merge.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <functional>
#include <queue>
#include <unordered_map>
#include <utility>

namespace lorsa::lm {
namespace {

// Measured with Llama-3's merges on random letters (AMD EPYC, November 2026): against the lists the
// scan takes 0.70 of the time at 60 units, 0.75 at 128.
constexpr size_t kScanLimit = 128;

struct Node {
  int32_t id;  // -1: merged into its left neighbour
  uint32_t previous;
  uint32_t next;
};

constexpr uint32_t kNone = ~uint32_t{0};

/// Places where a merge of one rank may be done: the position of the left unit.
struct Bucket {
  std::vector<uint32_t> positions;
  size_t next = 0;      // positions before it are done
  bool sorted = false;  // from `next` on
};

/// The places still to be looked at: lowest rank first, and of one rank the leftmost. Since a merge
/// adds places from left to right, the lists are almost in order, and all of it takes linear time.
class Agenda {
 public:
  void add(uint32_t rank, uint32_t position) {
    Bucket& bucket = buckets_[rank];
    if (bucket.next == bucket.positions.size()) {
      ranks_.push(rank);
      bucket.positions.clear();
      bucket.next = 0;
      bucket.sorted = true;
    }
    bucket.sorted =
        bucket.sorted && (bucket.positions.empty() || bucket.positions.back() < position);
    bucket.positions.push_back(position);
  }

  /// The next place and its rank; false if there is none.
  bool take(uint32_t& rank, uint32_t& position) {
    if (ranks_.empty()) {
      return false;
    }
    rank = ranks_.top();
    Bucket& bucket = buckets_.find(rank)->second;
    if (!bucket.sorted) {
      std::sort(bucket.positions.begin() + static_cast<std::ptrdiff_t>(bucket.next),
                bucket.positions.end());
      bucket.sorted = true;
    }
    position = bucket.positions[bucket.next++];
    if (bucket.next == bucket.positions.size()) {
      ranks_.pop();
    }
    return true;
  }

 private:
  std::unordered_map<uint32_t, Bucket> buckets_;                                // by rank
  std::priority_queue<uint32_t, std::vector<uint32_t>, std::greater<>> ranks_;  // with places left
};

}  // namespace

void merge_ids(const MergeTable& merges, std::vector<int32_t>& ids, size_t first) {
  if (ids.size() - first <= kScanLimit) {
    merge_ids_by_scan(merges, ids, first);
  } else {
    merge_ids_by_rank(merges, ids, first);
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

void merge_ids_by_rank(const MergeTable& merges, std::vector<int32_t>& ids, size_t first) {
  const auto count = static_cast<uint32_t>(ids.size() - first);
  if (count < 2) {
    return;
  }
  std::vector<Node> nodes(count);
  for (uint32_t i = 0; i < count; ++i) {
    nodes[i] = {ids[first + i], i == 0 ? kNone : i - 1, i + 1 == count ? kNone : i + 1};
  }
  Agenda agenda;
  const auto consider = [&](uint32_t left, uint32_t right) {
    const Merge merge = merges.find(nodes[left].id, nodes[right].id);
    if (merge.id >= 0) {
      agenda.add(merge.rank, left);
    }
  };
  for (uint32_t i = 0; i + 1 < count; ++i) {
    consider(i, i + 1);
  }
  uint32_t rank = 0;
  uint32_t at = 0;
  while (agenda.take(rank, at)) {
    Node& left = nodes[at];
    if (left.id < 0 || left.next == kNone) {
      continue;
    }
    const uint32_t right_at = left.next;
    // The place is stale if either unit has merged since.
    const Merge merge = merges.find(left.id, nodes[right_at].id);
    if (merge.id < 0 || merge.rank != rank) {
      continue;
    }
    left.id = merge.id;
    left.next = nodes[right_at].next;
    nodes[right_at].id = -1;
    if (left.next != kNone) {
      nodes[left.next].previous = at;
    }
    if (left.previous != kNone) {
      consider(left.previous, at);
    }
    if (left.next != kNone) {
      consider(at, left.next);
    }
  }
  ids.resize(first);
  for (uint32_t i = 0; i != kNone; i = nodes[i].next) {
    ids.push_back(nodes[i].id);
  }
}

}  // namespace lorsa::lm
