#include "config/yaml.h"

#include "lorsa/core/error.h"
#include "support/test.h"

using Catch::Matchers::StartsWith;
using lorsa::config::parse_yaml;
using lorsa::config::YamlNode;
using Kind = lorsa::config::YamlNode::Kind;

namespace {

YamlNode parse(const std::string& text) {
  return parse_yaml(text, {.name = "x.yaml", .has_positions = true});
}

std::string parse_error(const std::string& text) {
  try {
    parse(text);
  } catch (const lorsa::ConfigError& error) {
    return error.what();
  }
  return "no error";
}

}  // namespace

TEST_CASE("the tree keeps order, text and positions", "[config]") {
  const YamlNode root = parse("# comment\na:\n  b: 1\n  c: \"x y\"\nd: [1, [2]]\ne:\n");
  REQUIRE(root.kind == Kind::kMap);
  REQUIRE(root.entries.size() == 3);
  CHECK(root.entries[0].key == "a");
  CHECK(root.entries[0].position.line == 2);
  const YamlNode& a = root.entries[0].value;
  REQUIRE(a.entries.size() == 2);
  CHECK(a.entries[1].key == "c");
  CHECK(a.entries[1].position.line == 4);
  CHECK(a.entries[1].position.column == 3);
  CHECK(a.entries[1].value.text == "x y");
  CHECK(a.entries[1].value.quoted);
  CHECK(a.entries[1].value.position.column == 6);
  CHECK_FALSE(a.entries[0].value.quoted);
  const YamlNode& d = root.entries[1].value;
  REQUIRE(d.items.size() == 2);
  CHECK(d.items[1].kind == Kind::kList);
  CHECK(d.items[1].position.column == 8);
  CHECK(root.entries[2].value.kind == Kind::kNull);
}

TEST_CASE("a text without a document is a null node", "[config]") {
  for (const char* text : {"", "\n\n", "# only a comment\n", "---\n", "~", "null"}) {
    CAPTURE(text);
    CHECK(parse(text).kind == Kind::kNull);
  }
}

TEST_CASE("windows line ends and a byte order mark change nothing", "[config]") {
  const YamlNode root = parse(
      "\xef\xbb\xbf"
      "a: 1\r\nb: x\r\n");
  REQUIRE(root.entries.size() == 2);
  CHECK(root.entries[0].key == "a");
  CHECK(root.entries[1].value.text == "x");
  CHECK(root.entries[1].position.line == 2);
}

TEST_CASE("the end of the text may lack a line feed", "[config]") {
  CHECK(parse("a: 'x'").entries[0].value.text == "x");
  CHECK(parse("a:").entries[0].value.kind == Kind::kNull);
  CHECK(parse("a: |\n  x\n\n").entries[0].value.text == "x\n");
  CHECK(parse("a: |\n").entries[0].value.text.empty());
}

TEST_CASE("duplicate keys are refused at every depth", "[config]") {
  CHECK(parse_error("a: 1\nb: 2\na: 3\n") ==
        "x.yaml:3:1: duplicate key 'a', first given in line 1");
  CHECK(parse_error("s:\n  a: 1\n  'a': 2\n") ==
        "x.yaml:3:3: duplicate key 'a', first given in line 2");
  CHECK(parse_error("s: {a: 1, a: 1}\n") ==
        "x.yaml:1:11: duplicate key 'a', first given in line 1");
}

TEST_CASE("anchors, aliases and tags are refused where they stand", "[config]") {
  CHECK_THAT(parse_error("a: 1\nb: &name 2\n"),
             StartsWith("x.yaml:2:4: anchors (&name) are not supported"));
  CHECK_THAT(parse_error("a: &m {x: 1}\nb: 1\n"),
             StartsWith("x.yaml:1:4: anchors (&m) are not supported"));
  CHECK_THAT(parse_error("a: 1\nb: *name\n"), StartsWith("x.yaml:2:4: "));
  CHECK_THAT(parse_error("a: !!str 5\n"), StartsWith("x.yaml:1:4: tags ("));
  CHECK_THAT(parse_error("a: !mine [1]\n"), StartsWith("x.yaml:1:4: tags ("));
}

TEST_CASE("a second document is refused", "[config]") {
  CHECK_THAT(parse_error("a: 1\n---\nb: 2\n"),
             StartsWith("x.yaml:2:1: expected one YAML document, found a second one"));
}

TEST_CASE("keys are words", "[config]") {
  CHECK(parse_error("? [a, b]\n: 1\n") ==
        "x.yaml:1:3: expected a word as key, found a list or a map; is a bracket left open?");
  CHECK_THAT(parse_error("~: 1\n"), StartsWith("x.yaml:1:1: expected a word as key"));
}

TEST_CASE("broken YAML is a configuration error with its place", "[config]") {
  CHECK_THAT(parse_error("a: 1\nb: [1, 2\n"), StartsWith("x.yaml:3:1: not valid YAML: "));
  CHECK_THAT(parse_error("a: 1\n  b: 2\n"), StartsWith("x.yaml:2:4: not valid YAML: "));
  CHECK_THAT(parse_error("a: \"x\n"), StartsWith("x.yaml:1:6: not valid YAML: "));
  CHECK_THAT(parse_error("a: 'x\nb: 2\n\n"), StartsWith("x.yaml:2:5: not valid YAML: "));
  CHECK_THAT(parse_error("a: 1\n\tb: 2\n"), StartsWith("x.yaml:2:"));
  CHECK_THAT(parse_error("a: }\n"), StartsWith("x.yaml:1:4: not valid YAML: "));
  CHECK_THAT(parse_error("a: 1\n]\n"), StartsWith("x.yaml:2:1: not valid YAML: "));
  CHECK_THAT(parse_error(std::string(100'000, '[')), StartsWith("x.yaml:1:"));
}
