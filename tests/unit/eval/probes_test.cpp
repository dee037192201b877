#include "lorsa/eval/probes.h"

#include <ATen/ATen.h>

#include <set>

#include "lorsa/core/error.h"
#include "support/test.h"

using namespace lorsa;

namespace {

eval::RepeatOptions small() {
  eval::RepeatOptions options;
  options.num_rows = 5;
  options.period = 12;
  options.seed = 3;
  return options;
}

}  // namespace

TEST_CASE("repeated tokens stand twice behind BOS, different ones, none of them special",
          "[eval]") {
  const lm::Tokenizer tokenizer(test::golden("collect/model"));
  const eval::ProbeRows rows = eval::repeated_random_tokens(tokenizer, small());
  REQUIRE(rows.tokens_BT.sizes() == at::IntArrayRef{5, 25});
  REQUIRE((rows.tokens_BT.select(1, 0) == *tokenizer.bos_id()).all().item<bool>());
  REQUIRE(at::equal(rows.tokens_BT.narrow(1, 1, 12), rows.tokens_BT.narrow(1, 13, 12)));
  const std::vector<int32_t> ordinary = tokenizer.ordinary_ids();
  const std::set<int32_t> allowed(ordinary.begin(), ordinary.end());
  std::set<int32_t> all;
  for (int64_t b = 0; b < 5; ++b) {
    std::set<int32_t> copy;
    for (int64_t t = 1; t <= 12; ++t) {
      copy.insert(rows.tokens_BT[b][t].item<int32_t>());
    }
    REQUIRE(copy.size() == 12);
    all.insert(copy.begin(), copy.end());
  }
  // 60 draws of 300 ids: rows that were alike, or draws from a few ids only, would show.
  REQUIRE(all.size() > 40);
  for (const int32_t id : all) {
    REQUIRE(allowed.contains(id));
  }
}

TEST_CASE("the second copy's predictions count but its first, edits spare BOS", "[eval]") {
  const lm::Tokenizer tokenizer(test::golden("collect/model"));
  const eval::ProbeRows rows = eval::repeated_random_tokens(tokenizer, small());
  const at::Tensor position = at::arange(25).expand({5, 25});
  REQUIRE(at::equal(rows.counted_BT, position >= 14));
  REQUIRE(at::equal(rows.edited_BT, position >= 1));
  eval::RepeatOptions bare = small();
  bare.bos = false;
  const eval::ProbeRows without = eval::repeated_random_tokens(tokenizer, bare);
  REQUIRE(at::equal(without.tokens_BT, rows.tokens_BT.narrow(1, 1, 24)));
  REQUIRE(at::equal(without.counted_BT, rows.counted_BT.narrow(1, 1, 24)));
  REQUIRE(without.edited_BT.all().item<bool>());
}

TEST_CASE("repeated tokens depend on the seed alone", "[eval]") {
  const lm::Tokenizer tokenizer(test::golden("collect/model"));
  const eval::ProbeRows first = eval::repeated_random_tokens(tokenizer, small());
  const eval::ProbeRows again = eval::repeated_random_tokens(tokenizer, small());
  REQUIRE(at::equal(first.tokens_BT, again.tokens_BT));
  eval::RepeatOptions other = small();
  other.seed = 4;
  REQUIRE_FALSE(
      at::equal(first.tokens_BT, eval::repeated_random_tokens(tokenizer, other).tokens_BT));
}

TEST_CASE("repeated tokens that cannot be drawn are refused", "[eval]") {
  const lm::Tokenizer tokenizer(test::golden("collect/model"));
  const auto refused = [&](int64_t num_rows, int64_t period) {
    eval::RepeatOptions options;
    options.num_rows = num_rows;
    options.period = period;
    REQUIRE_THROWS_AS(eval::repeated_random_tokens(tokenizer, options), ConfigError);
  };
  refused(0, 4);
  refused(3, 1);
  refused(3, static_cast<int64_t>(tokenizer.ordinary_ids().size()) + 1);
}
