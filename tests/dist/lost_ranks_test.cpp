#include "dist/lost_ranks.h"

#include "support/throws.h"

namespace lorsa::dist {
namespace {

constexpr int64_t kSilent = RollCall::kSilent;

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

TEST_CASE("lists of ranks read as sentences do and stay short", "[dist]") {
  CHECK(list_ranks({3}) == "rank 3");
  CHECK(list_ranks({0, 3}) == "ranks 0 and 3");
  CHECK(list_ranks({1, 2, 5}) == "ranks 1, 2 and 5");
  CHECK(list_ranks({0, 1, 2, 3, 4, 5, 6, 7, 8}) == "ranks 0, 1, 2, 3, 4, 5, 6, 7 and 8");
  CHECK(list_ranks({0, 1, 2, 3, 4, 5, 6, 7, 8, 9}) == "ranks 0, 1, 2, 3, 4, 5, 6, 7 and 2 more");
}

TEST_CASE("a time-out names operation, time and who did not arrive", "[dist]") {
  const std::string message =
      lost_ranks_message({"all_reduce_sum of Float[3]", 12, 0, 2.5, {12, kSilent, 10, 12, 11}});
  test::require_parts(message, {"rank 0 waited 2.5 s for all_reduce_sum of Float[3] (operation 12)",
                                "; rank 1 did not arrive and gives no sign of life",
                                "; ranks 2 and 4 did not arrive, having begun 11 at most"});
}

TEST_CASE("a time-out tells the silent, the late and a network that stalls apart", "[dist]") {
  const std::string silent = lost_ranks_message({"barrier", 2, 1, 1, {kSilent, 2, 3}});
  CHECK(has(silent, "rank 0 did not arrive and gives no sign"));
  CHECK_FALSE(has(silent, "having begun"));
  const std::string late = lost_ranks_message({"barrier", 2, 1, 1, {1, 2, 3}});
  CHECK(has(late, "rank 0 did not arrive, having begun 1:"));
  CHECK_FALSE(has(late, "sign of life"));
  const std::string stalled = lost_ranks_message({"barrier", 2, 1, 1, {2, 2, 3}});
  CHECK(has(stalled, "all ranks have begun it"));
  CHECK_FALSE(has(stalled, "did not arrive"));
}

}  // namespace
}  // namespace lorsa::dist
