#include "lorsa/eval/head_list.h"

#include "lorsa/core/error.h"
#include "lorsa/io/files.h"
#include "support/test.h"
#include "support/throws.h"

using namespace lorsa;
using Heads = std::vector<int64_t>;

namespace {

const eval::NamedHeads kNamed = {{"induction", {7, 3}}, {"previous-token", {7, 9}}};

std::string refused(const std::string& list) {
  return test::message_of<ConfigError>([&] { (void)eval::parse_heads(list, 64, kNamed); });
}

}  // namespace

TEST_CASE("a list holds heads, ranges and names", "[eval]") {
  REQUIRE(eval::parse_heads("17,3,40-43", 64, {}) == Heads{3, 17, 40, 41, 42, 43});
  REQUIRE(eval::parse_heads(" 0\t63,\n5-5 ", 64, {}) == Heads{0, 5, 63});
  REQUIRE(eval::parse_heads("induction", 64, kNamed) == Heads{3, 7});
  REQUIRE(eval::parse_heads("previous-token,induction,8", 64, kNamed) == Heads{3, 7, 8, 9});
}

TEST_CASE("a list comes from a file", "[eval]") {
  const test::TempDir dir;
  io::write_file(dir / "heads.txt", "5, 4\n60-62 induction\n");
  REQUIRE(eval::parse_heads(formatted("@{}", (dir / "heads.txt")), 64, kNamed) ==
          Heads{3, 4, 5, 7, 60, 61, 62});
  io::write_file(dir / "windows.txt",
                 "\xef\xbb\xbf"
                 "5, 4 \r\n\r\n60-62\tinduction");
  REQUIRE(eval::parse_heads(formatted("@{}", (dir / "windows.txt")), 64, kNamed) ==
          Heads{3, 4, 5, 7, 60, 61, 62});
  REQUIRE_THROWS_AS(eval::parse_heads(formatted("@{}", (dir / "absent")), 64, {}), IoError);
  io::write_file(dir / "wrong.txt", "5 64\n");
  test::require_parts(refused(formatted("@{}", (dir / "wrong.txt"))),
                      {"`ablate_heads` @", "wrong.txt", "0 to 63", "found 64"});
}

TEST_CASE("what a list may not hold is refused by option, expected and found", "[eval]") {
  test::require_parts(refused("64"), {"`ablate_heads`: expected heads from 0 to 63, found 64"});
  test::require_parts(refused("60-64"), {"`ablate_heads`", "found 64"});
  test::require_parts(refused("3,3"), {"`ablate_heads`: expected every head once, found 3 twice"});
  test::require_parts(refused("2-5,4"), {"found 4 twice"});
  test::require_parts(refused("induction,3"), {"found 3 as a number and under a name"});
  test::require_parts(refused("inductoin"),
                      {"found 'inductoin'", "known names: induction, previous-token"});
  test::require_parts(refused(", "), {"`ablate_heads`: expected at least one head, found none"});
  for (const char* item :
       {"5-3", "-5", "5-", "3x", "1.5", "0x3", "1-2-3", "99999999999999999999"}) {
    test::require_parts(refused(item), {"`ablate_heads`", formatted("found '{}'", item)});
  }
  test::require_parts(
      test::message_of<ConfigError>([] { (void)eval::parse_heads("sink", 64, {}); }),
      {"found 'sink'", "no names are known"});
}

TEST_CASE("a head is steered to a finite number", "[eval]") {
  const eval::HeadEdit edit = eval::parse_steer("12=-3.5e1", 64);
  REQUIRE(edit.head == 12);
  REQUIRE(edit.value == -35.0);
  REQUIRE(eval::parse_steer("0=0", 64).value == 0.0);
  const auto wrong = [](const std::string& text) {
    return test::message_of<ConfigError>([&] { (void)eval::parse_steer(text, 64); });
  };
  for (const char* text :
       {"12", "12=", "=3", "12=x", "12=1.5 ", "a=1", "12=nan", "12=inf", "12=1e999", "1=2=3", ""}) {
    test::require_parts(wrong(text), {"`steer`: expected HEAD=VALUE with a finite number",
                                      formatted("found '{}'", text)});
  }
  test::require_parts(wrong("64=1"), {"`steer`: expected heads from 0 to 63, found 64"});
}

TEST_CASE("a head is ablated or steered, once", "[eval]") {
  const eval::HeadEdits edits = eval::join_edits({3, 5}, {{4, 2.5}});
  REQUIRE(edits.size() == 3);
  REQUIRE(edits[1].head == 5);
  REQUIRE(edits[1].value == 0.0);
  REQUIRE(edits[2].head == 4);
  REQUIRE(edits[2].value == 2.5);
  test::require_parts(test::message_of<ConfigError>([] {
                        (void)eval::join_edits({3, 5}, {{5, 1.0}});
                      }),
                      {"`ablate_heads` and `steer`", "found 5 in both"});
  test::require_parts(test::message_of<ConfigError>([] {
                        (void)eval::join_edits({}, {{4, 1.0}, {4, 1.0}});
                      }),
                      {"`steer`", "found 4 twice"});
}
