#include <random>

#include "lm/bpe_merge.h"
#include "lm/utf8.h"
#include "lorsa/core/error.h"
#include "lorsa/core/utf8.h"
#include "support/test.h"

namespace lorsa::lm {
namespace {

using Ids = std::vector<int32_t>;

// The definition: the pair of lowest rank, the leftmost of equals, until there is none.
Ids merge_by_definition(const MergeTable& merges, Ids ids) {
  while (true) {
    size_t best = ids.size();
    uint32_t best_rank = 0;
    for (size_t i = 0; i + 1 < ids.size(); ++i) {
      const Merge merge = merges.find(ids[i], ids[i + 1]);
      if (merge.id >= 0 && (best == ids.size() || merge.rank < best_rank)) {
        best = i;
        best_rank = merge.rank;
      }
    }
    if (best == ids.size()) {
      return ids;
    }
    ids[best] = merges.find(ids[best], ids[best + 1]).id;
    ids.erase(ids.begin() + static_cast<std::ptrdiff_t>(best) + 1);
  }
}

TEST_CASE("merging by scan and by heap both follow the definition", "[lm]") {
  std::mt19937 rng(7);
  for (int round = 0; round < 300; ++round) {
    // Few letters and many merges of merged tokens: ties, chains and runs of one letter.
    const int letters = 1 + static_cast<int>(rng() % 3);
    MergeTable merges(24);
    int32_t next = letters;
    for (uint32_t rank = 0; rank < 24; ++rank) {
      const auto left = static_cast<int32_t>(rng() % static_cast<uint32_t>(next));
      const auto right = static_cast<int32_t>(rng() % static_cast<uint32_t>(next));
      if (merges.find(left, right).id < 0) {
        merges.insert(left, right, {rank, next++});
      }
    }
    Ids ids(rng() % 200);
    for (int32_t& id : ids) {
      id = static_cast<int32_t>(rng() % static_cast<uint32_t>(letters));
    }
    const Ids expected = merge_by_definition(merges, ids);
    Ids scanned = ids;
    merge_ids_by_scan(merges, scanned, 0);
    CHECK(scanned == expected);
    Ids by_rank = ids;
    merge_ids_by_rank(merges, by_rank, 0);
    CHECK(by_rank == expected);
  }
}

TEST_CASE("merging leaves what lies before the word alone", "[lm]") {
  MergeTable merges(1);
  merges.insert(0, 0, {0, 1});
  for (const size_t count : {2U, 3U, 100U}) {
    Ids ids{0, 0, 0};
    ids.resize(3 + count, 0);
    merge_ids(merges, ids, 3);
    CHECK(ids.size() == 3 + (count + 1) / 2);
    CHECK(Ids(ids.begin(), ids.begin() + 3) == Ids{0, 0, 0});
    CHECK(ids[3] == 1);
  }
}

TEST_CASE("the word table finds what was put in and nothing else", "[lm]") {
  WordTable table(1000);
  for (int32_t i = 0; i < 1000; ++i) {
    REQUIRE(table.insert(formatted("w{}", i), i));
  }
  CHECK_FALSE(table.insert("w7", 5));
  CHECK(table.find("w7") == 7);
  CHECK(table.find("w999") == 999);
  CHECK(table.find("w1000") == -1);
  CHECK(table.find("") == -1);
}

TEST_CASE("ill-formed UTF-8 is replaced part by part", "[lm]") {
  // Expected values from Python: bytes.decode("utf-8", "replace").
  CHECK(replace_invalid_utf8("a\xf0\x9f\x98") == "a\xef\xbf\xbd");
  CHECK(replace_invalid_utf8("\xff\xfe") == "\xef\xbf\xbd\xef\xbf\xbd");
  CHECK(replace_invalid_utf8("\xed\xa0\x80") == "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd");
  CHECK(replace_invalid_utf8("\xe4\xbd\xa0\x80!") == "\xe4\xbd\xa0\xef\xbf\xbd!");
}

}  // namespace
}  // namespace lorsa::lm
