#include "lorsa/config/suggest.h"

#include "support/test.h"

using lorsa::config::edit_distance;
using lorsa::config::nearest;

TEST_CASE("the edit distance counts insertions, deletions, replacements and swaps", "[config]") {
  CHECK(edit_distance("", "") == 0);
  CHECK(edit_distance("abc", "abc") == 0);
  CHECK(edit_distance("", "abc") == 3);
  CHECK(edit_distance("abc", "") == 3);
  CHECK(edit_distance("kitten", "sitting") == 3);
  CHECK(edit_distance("tokens", "token") == 1);
  CHECK(edit_distance("tokens", "tokesn") == 1);
  CHECK(edit_distance("ca", "abc") == 3);
}

TEST_CASE("the nearest name is offered only if it is near", "[config]") {
  const std::vector<std::string> names = {"tokens", "learning_rate", "top_k"};
  CHECK(nearest("token", names) == "tokens");
  CHECK(nearest("learning_rat", names) == "learning_rate");
  CHECK(nearest("lerning_raet", names) == "learning_rate");
  CHECK(nearest("topk", names) == "top_k");
  CHECK(nearest("seed", names).empty());
  CHECK(nearest("k", {"x", "y"}).empty());
  CHECK(nearest("ab", {"ax", "ay"}) == "ax");
  CHECK(nearest("a", {}).empty());
}
