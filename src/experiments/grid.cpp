#include "experiments/grid.h"

#include <algorithm>
#include <cctype>
#include <map>

#include "config/yaml.h"
#include "lorsa/core/error.h"

namespace lorsa::experiments {
namespace {

using config::YamlNode;

/// Two names and what is put around them must fit into a file name of 255 bytes (pairs/A--B.json).
constexpr size_t kLongestName = 110;

std::string trimmed(const std::string& text) {
  const size_t begin = text.find_first_not_of(" \t\r\n");
  const size_t end = text.find_last_not_of(" \t\r\n");
  return begin == std::string::npos ? "" : text.substr(begin, end - begin + 1);
}

/// The parts between the semicolons that stand outside of brackets and quotes.
std::vector<std::string> split(const std::string& text) {
  std::vector<std::string> parts(1);
  int depth = 0;
  char quote = '\0';
  for (const char c : text) {
    if (quote != '\0') {
      quote = c == quote ? '\0' : quote;
    } else if (c == '"' || c == '\'') {
      quote = c;
    } else if (c == '[') {
      ++depth;
    } else if (c == ']') {
      --depth;
    }
    if (c == ';' && depth == 0 && quote == '\0') {
      parts.emplace_back();
    } else {
      parts.back() += c;
    }
  }
  return parts;
}

/// A node as YAML in flow style, fit for --set.
std::string to_yaml(const YamlNode& node, const std::string& where) {
  if (node.kind == YamlNode::Kind::kScalar) {
    if (!node.quoted) {
      return node.text;
    }
    return quoted_yaml(node.text);
  }
  LORSA_CHECK(node.kind == YamlNode::Kind::kList, ConfigError,
              "{}: expected a value or a list of values, found {}", where, config::describe(node));
  std::string list;
  for (const YamlNode& item : node.items) {
    list += formatted("{}{}", list.empty() ? "" : ", ", to_yaml(item, where));
  }
  return formatted("[{}]", list);
}

std::string to_text(const YamlNode& node) {
  std::string text = node.text;
  for (const YamlNode& item : node.items) {
    text += formatted("{}{}", text.empty() ? "" : ",", to_text(item));
  }
  return text;
}

StageKey parse_key(const std::string& text) {
  for (const Stage stage : {Stage::kToy, Stage::kCache}) {
    const std::string prefix = prefix_of(stage);
    if (text.starts_with(prefix)) {
      return {stage, text.substr(prefix.size())};
    }
  }
  return {Stage::kTrain, text};
}

/// Key and value of "key=value", the value parsed.
std::pair<StageKey, YamlNode> parse_assignment(const std::string& text,
                                               const std::string& where,
                                               const char* example) {
  const size_t equals = text.find('=');
  const std::string key = trimmed(text.substr(0, equals));
  LORSA_CHECK(equals != std::string::npos && !key.empty(), ConfigError,
              "{}: expected {}, found '{}'", where, example, trimmed(text));
  const std::string value = text.substr(equals + 1);
  return {parse_key(key), config::parse_yaml(value, {.name = where + ": " + key})};
}

Axis parse_axis(const std::string& text) {
  constexpr const char* kExample = "key=[v, ...], such as model.top_k=[32, 64]";
  const std::string where = formatted("sweep.axes: '{}'", text);
  Axis axis;
  axis.text = text;
  for (const std::string& part : split(text)) {
    const auto [key, list] = parse_assignment(part, where, kExample);
    LORSA_CHECK(list.kind == YamlNode::Kind::kList && !list.items.empty(), ConfigError,
                "{}: {}: expected a list of values, found {}", where, key.full(),
                list.kind == YamlNode::Kind::kList ? "an empty one" : config::describe(list));
    LORSA_CHECK(axis.points.empty() || axis.points.size() == list.items.size(), ConfigError,
                "{}: {} has {} values, {} has {}: keys of one axis take their values together",
                where, key.full(), list.items.size(),
                axis.keys.empty() ? "" : axis.keys.front().full(), axis.points.size());
    axis.points.resize(list.items.size());
    axis.keys.push_back(key);
    for (size_t i = 0; i < list.items.size(); ++i) {
      axis.points[i].push_back({key, to_yaml(list.items[i], where), to_text(list.items[i])});
    }
  }
  return axis;
}

/// `text` with what file names had better not hold replaced.
std::string fit_for_files(const std::string& text) {
  std::string fit;
  for (const char c : text) {
    const bool plain = std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '.' || c == '+' ||
                       c == '-' || c == '_';
    fit += plain ? c : '-';
  }
  return fit;
}

std::string last_part(const std::string& key) {
  return key.substr(key.rfind('.') + 1);
}

std::string settings_text(const std::vector<Setting>& settings) {
  std::string text;
  for (const Setting& setting : settings) {
    text += formatted("{}{} = {}", text.empty() ? "" : ", ", setting.key.full(), setting.text);
  }
  return text;
}

void check_names(const std::vector<GridPoint>& points) {
  std::map<std::string, const GridPoint*> names;
  for (const GridPoint& point : points) {
    LORSA_CHECK(point.name.size() <= kLongestName, ConfigError,
                "sweep.axes: the run's name {} is longer than {} bytes: shorter values or fewer "
                "keys that are zipped would fit",
                point.name, kLongestName);
    const auto [found, is_new] = names.emplace(point.name, &point);
    LORSA_CHECK(is_new, ConfigError, "sweep.axes: two runs would be named {}: {} and {}",
                point.name, settings_text(found->second->settings), settings_text(point.settings));
  }
}

}  // namespace

std::string quoted_yaml(const std::string& text) {
  std::string quoted;
  for (const char c : text) {
    quoted += c == '\'' ? "''" : std::string(1, c);
  }
  return formatted("'{}'", quoted);
}

const char* prefix_of(Stage stage) {
  switch (stage) {
    case Stage::kToy:
      return "toy:";
    case Stage::kCache:
      return "cache:";
    case Stage::kTrain:
      return "";
  }
  throw Error("unknown stage");
}

Setting parse_setting(const std::string& text, const std::string& where) {
  const auto [key, value] = parse_assignment(text, where, "key=value, such as train.tokens=400k");
  return {key, to_yaml(value, where + ": " + key.full()), to_text(value)};
}

std::vector<Axis> parse_axes(const std::vector<std::string>& texts) {
  std::vector<Axis> axes;
  std::map<std::string, std::string> owners;
  for (const std::string& text : texts) {
    axes.push_back(parse_axis(text));
    for (const StageKey& key : axes.back().keys) {
      const auto [found, is_new] = owners.emplace(key.full(), text);
      LORSA_CHECK(is_new, ConfigError, "sweep.axes: '{}': {} stands already in '{}'", text,
                  key.full(), found->second);
    }
  }
  return axes;
}

std::string name_of(const std::vector<Setting>& settings,
                    const std::vector<Stage>& stages,
                    const std::string& none) {
  std::string name;
  for (const Setting& setting : settings) {
    if (std::ranges::count(stages, setting.key.stage) == 0) {
      continue;
    }
    const std::string last = last_part(setting.key.key);
    const auto alike = std::ranges::count_if(
        settings, [&](const Setting& other) { return last_part(other.key.key) == last; });
    name += formatted("{}{}-{}", name.empty() ? "" : "_",
                      fit_for_files(alike > 1 ? setting.key.full() : last),
                      fit_for_files(setting.text));
  }
  return name.empty() ? none : name;
}

std::vector<GridPoint> grid_points(const std::vector<Axis>& axes) {
  std::vector<GridPoint> points(1);
  for (const Axis& axis : axes) {
    std::vector<GridPoint> grown;
    for (const GridPoint& point : points) {
      for (const std::vector<Setting>& settings : axis.points) {
        grown.push_back(point);
        grown.back().settings.insert(grown.back().settings.end(), settings.begin(), settings.end());
      }
    }
    points = std::move(grown);
  }
  for (GridPoint& point : points) {
    point.name = name_of(point.settings, {Stage::kToy, Stage::kCache, Stage::kTrain}, "run");
  }
  check_names(points);
  return points;
}

}  // namespace lorsa::experiments
