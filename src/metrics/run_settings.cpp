#include "metrics/run_settings.h"

#include "config/yaml.h"
#include "lorsa/core/error.h"
#include "lorsa/io/files.h"

namespace lorsa::metrics {
namespace {

using config::YamlNode;

/// A value on one line, as in YAML's flow style.
std::string value_text(const YamlNode& node) {
  std::string text;
  switch (node.kind) {
    case YamlNode::Kind::kNull:
      return "null";
    case YamlNode::Kind::kScalar:
      return node.text;
    case YamlNode::Kind::kList:
      for (const YamlNode& item : node.items) {
        text += (text.empty() ? "" : ", ") + value_text(item);
      }
      return "[" + text + "]";
    case YamlNode::Kind::kMap:
      for (const config::YamlEntry& entry : node.entries) {
        text += (text.empty() ? "" : ", ") + entry.key + ": " + value_text(entry.value);
      }
      return "{" + text + "}";
  }
  return text;
}

void flatten(const YamlNode& map,
             const std::string& prefix,
             std::vector<std::pair<std::string, std::string>>& flat) {
  for (const config::YamlEntry& entry : map.entries) {
    if (entry.value.kind == YamlNode::Kind::kMap) {
      flatten(entry.value, prefix + entry.key + ".", flat);
    } else {
      flat.emplace_back(prefix + entry.key, value_text(entry.value));
    }
  }
}

YamlNode parse(const std::filesystem::path& path) {
  const std::string text = io::read_file(path);
  try {
    return config::parse_yaml(text, {.name = path.string(), .has_positions = true});
  } catch (const ConfigError& error) {
    // Here it is a file that a run left, not a configuration that someone wants to use.
    throw FormatError(error.what());
  }
}

}  // namespace

std::vector<std::pair<std::string, std::string>> read_settings(const std::filesystem::path& path) {
  const YamlNode root = parse(path);
  LORSA_CHECK(root.kind == YamlNode::Kind::kMap, FormatError,
              "{}: expected a map of settings, found {}", path, config::describe(root));
  std::vector<std::pair<std::string, std::string>> flat;
  flatten(root, "", flat);
  return flat;
}

}  // namespace lorsa::metrics
