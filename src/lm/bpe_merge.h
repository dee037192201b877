#pragma once

#include <cstdint>
#include <vector>

#include "lm/hash_tables.h"

namespace lorsa::lm {

/// Merges `ids` in place until no adjacent pair merges: lowest rank first, among equals the
/// leftmost.
///
/// merge_ids() picks by length between the two below; they give the same ids.
void merge_ids(const MergeTable& merges, std::vector<int32_t>& ids, size_t first);

/// Searches the list for the best pair every time: fastest for the lengths of words.
void merge_ids_by_scan(const MergeTable& merges, std::vector<int32_t>& ids, size_t first);

/// Lists of places by rank over a linked list of units: linear time, for runs of any length.
void merge_ids_by_rank(const MergeTable& merges, std::vector<int32_t>& ids, size_t first);

}  // namespace lorsa::lm
