#pragma once

// YAML text as a plain tree that remembers where everything stood.

#include <string>
#include <vector>

namespace lorsa::config {

/// Where a text comes from, for messages.
struct Source {
  std::string name;            ///< a path, or "--set key"
  bool has_positions = false;  ///< whether line and column mean something to the user
};

/// Line and column from 1.
struct Position {
  int line = 1;
  int column = 1;
};

/// "path:line:column: " or "--set key: ".
[[nodiscard]] std::string at(const Source& source, const Position& position);

struct YamlEntry;

struct YamlNode {
  enum class Kind { kNull, kScalar, kList, kMap };

  Kind kind = Kind::kNull;
  Position position;
  std::string text{};              ///< kScalar
  bool quoted = false;             ///< kScalar
  std::vector<YamlNode> items{};   ///< kList
  std::vector<YamlEntry> entries;  ///< kMap, in the order of the text
};

struct YamlEntry {
  std::string key;
  Position position;
  YamlNode value;
};

/// "a map", "a list", "nothing", "'text'".
[[nodiscard]] std::string describe(const YamlNode& node);

/// The one document of `text`; a null node if there is none.
///
/// Throws ConfigError for a syntax error, a second document, a duplicate or non-scalar key, an
/// anchor, an alias or an explicit tag.
[[nodiscard]] YamlNode parse_yaml(const std::string& text, const Source& source);

}  // namespace lorsa::config
