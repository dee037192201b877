#include "lorsa/io/json.h"

#include <chrono>
#include <cstdint>
#include <limits>
#include <string>

#include "lorsa/core/error.h"
#include "lorsa/io/files.h"
#include "support/throws.h"

namespace lorsa::io {
namespace {

std::string json_refusal(const std::string& text) {
  return test::message_of<FormatError>([&] { static_cast<void>(parse_json(text, "name")); });
}

TEST_CASE("parse_json reads every kind of value in the order of the text", "[io]") {
  const Json json = parse_json(
      R"({"z": [1, -2, 3.5, true, null, "\u00e4\n"], "a": {"b": {}, "c": [[], [{}]]}})", "name");
  REQUIRE(json.dump() == R"({"z":[1,-2,3.5,true,null,"ä\n"],"a":{"b":{},"c":[[],[{}]]}})");
  REQUIRE(parse_json(" 7 ", "name") == Json(7));
  REQUIRE(parse_json("\"x\"", "name") == Json("x"));
}

TEST_CASE("parse_json agrees with nlohmann's own parser", "[io]") {
  const std::string text =
      R"([{"a":{"b":[{"c":1},{"c":2}],"d":"x"},"e":[]},[[1,2],[3,[4,{"f":{"g":null}}]]],1e300,-0.0])";
  REQUIRE(parse_json(text, "name") == Json::parse(text));
}

TEST_CASE("parse_json refuses duplicate keys with name and byte", "[io]") {
  test::require_parts(json_refusal(R"({"a": 1, "b": {"a": 2}, "a": 3})"),
                      {"name: byte 27: ", "expected unique keys", "\"a\""});
  test::require_parts(json_refusal(R"([{"x": {"k": 1, "k": 1}}])"), {"\"k\""});
  // Escapes do not hide one.
  test::require_parts(json_refusal(R"({"a": 1, "\u0061": 2})"), {"expected unique keys"});
  // The same key in different objects is fine.
  REQUIRE(parse_json(R"([{"a": 1}, {"a": {"a": 2}}])", "name").size() == 2);
}

TEST_CASE("parse_json refuses what is not exactly one JSON value", "[io]") {
  test::require_parts(json_refusal(""), {"name: byte 1: ", "unexpected end of input"});
  test::require_parts(json_refusal("{} x"), {"name: byte 4: "});
  test::require_parts(json_refusal("{\"a\": 1,}"), {"name: byte 9: "});
  test::require_parts(json_refusal("[1 2]"), {"name: byte 4: "});
  test::require_parts(json_refusal("{\"a\": NaN}"), {"name: byte 7: "});
  test::require_parts(json_refusal("[1e999]"), {"name: byte 6: "});
  test::require_parts(json_refusal("\"\xff\""), {"name: byte 2: "});
  test::require_parts(json_refusal("// no\n1"), {"name: byte 1: "});
  test::require_parts(json_refusal(std::string(100'000, '[')), {"nested levels"});
}

TEST_CASE("a vocabulary of 200,000 keys is parsed in linear time", "[io]") {
  std::string text = "{";
  for (int i = 0; i < 200'000; ++i) {
    text += (i == 0 ? "\"token" : ",\"token") + std::to_string(i) + "\":" + std::to_string(i);
  }
  text += "}";
  const auto start = std::chrono::steady_clock::now();
  const Json json = parse_json(text, "name");
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
  REQUIRE(json.size() == 200'000);
  REQUIRE(json.back() == 199'999);
  // Measured 0.1 s; the quadratic way takes minutes.
  REQUIRE(took.count() < 5.0);
}

TEST_CASE("member reads values of the right type", "[io]") {
  const Json json = parse_json(
      R"({"i": -3, "u": 18446744073709551615, "d": 2.5, "b": false, "s": "x", "n": null})", "name");
  REQUIRE(member<int64_t>(json, "i", "w") == -3);
  REQUIRE(member<uint64_t>(json, "u", "w") == std::numeric_limits<uint64_t>::max());
  REQUIRE(member<double>(json, "d", "w") == 2.5);
  REQUIRE(member<double>(json, "i", "w") == -3.0);
  REQUIRE_FALSE(member<bool>(json, "b", "w"));
  REQUIRE(member<std::string>(json, "s", "w") == "x");
  REQUIRE(member<Json>(json, "n", "w").is_null());
}

TEST_CASE("member names the place, the key, what was expected and what was found", "[io]") {
  const Json json =
      parse_json(R"({"i": -3, "u": 18446744073709551615, "d": 2.5, "b": false, "s": "x"})", "name");
  const auto refused = [&](auto tag, const std::string& key) {
    return test::message_of<FormatError>(
        [&] { static_cast<void>(member<decltype(tag)>(json, key, "file: part")); });
  };
  REQUIRE(refused(int64_t{}, "none") ==
          "file: part: none: expected a whole number below 2^63, found nothing");
  REQUIRE(refused(uint64_t{}, "i") ==
          "file: part: i: expected a whole number, 0 or more, found -3");
  test::require_parts(refused(int64_t{}, "u"), {"2^63", "18446744073709551615"});
  test::require_parts(refused(int64_t{}, "d"), {"whole number", "2.5"});
  test::require_parts(refused(int64_t{}, "s"), {"\"x\""});
  test::require_parts(refused(int64_t{}, "b"), {"false"});
  test::require_parts(refused(double{}, "s"), {"expected a number", "\"x\""});
  test::require_parts(refused(bool{}, "i"), {"expected true or false", "-3"});
  test::require_parts(refused(std::string{}, "i"), {"expected text", "-3"});
  test::require_parts(test::message_of<FormatError>(
                          [&] { static_cast<void>(member<int64_t>(Json::array(), "k", "file")); }),
                      {"file: expected an object with \"k\", found []"});
}

TEST_CASE("member_or falls back for absent and null keys only", "[io]") {
  const Json json = parse_json(R"({"n": null, "s": "x"})", "name");
  REQUIRE(member_or<int64_t>(json, "none", "w", 5) == 5);
  REQUIRE(member_or<int64_t>(json, "n", "w", 6) == 6);
  REQUIRE_THROWS_AS(member_or<int64_t>(json, "s", "w", 7), FormatError);
}

TEST_CASE("write_json and read_json round-trip doubles exactly", "[io]") {
  const test::TempDir folder;
  const Json json = {{"third", 1.0 / 3.0}, {"tiny", 5e-324}, {"list", {0.1, 1e22, 123456789.0}}};
  write_json(folder / "a.json", json);
  REQUIRE(read_json(folder / "a.json") == json);
  const std::string text = read_file(folder / "a.json");
  REQUIRE(text.substr(0, 12) == "{\n  \"third\":");
  REQUIRE(text.back() == '\n');
  write_file(folder / "bad.json", "{\"a\" 1}");
  test::require_parts(
      test::message_of<FormatError>([&] { static_cast<void>(read_json(folder / "bad.json")); }),
      {(folder / "bad.json").string(), "byte 6"});
}

TEST_CASE("read_json takes a byte order mark and Windows line ends, and names UTF-16", "[io]") {
  const test::TempDir folder;
  write_file(folder / "a.json", "\xef\xbb\xbf{\r\n \"a\": 1\r\n}\r\n\r\n");
  REQUIRE(read_json(folder / "a.json") == Json{{"a", 1}});
  write_file(folder / "b.json", std::string("\xff\xfe{\0}\0", 6));
  test::require_parts(
      test::message_of<FormatError>([&] { static_cast<void>(read_json(folder / "b.json")); }),
      {(folder / "b.json").string(), "found text in UTF-16"});
}

}  // namespace
}  // namespace lorsa::io
