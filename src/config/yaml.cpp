#include "config/yaml.h"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/parser.h>

#include <sstream>

#include "lorsa/core/error.h"

namespace lorsa::config {
namespace {

Position to_position(const YAML::Mark& mark) {
  return mark.is_null() ? Position{} : Position{mark.line + 1, mark.column + 1};
}

YamlNode node_of(YamlNode::Kind kind, const YAML::Mark& mark) {
  YamlNode node;
  node.kind = kind;
  node.position = to_position(mark);
  return node;
}

/// Builds the tree from the parser's events: yaml-cpp's own nodes keep the last of duplicate keys
/// and forget anchors.
class TreeBuilder final : public YAML::EventHandler {
 public:
  explicit TreeBuilder(const Source& source) : source_(source) {}

  [[nodiscard]] YamlNode take() { return std::move(root_); }

  void OnDocumentStart(const YAML::Mark& mark) override {
    if (++num_documents_ > 1) {
      refuse(mark, "expected one YAML document, found a second one");
    }
  }

  void OnDocumentEnd() override {}

  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    refuse_anchor(mark, anchor);
    add(node_of(YamlNode::Kind::kNull, mark));
  }

  void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override {
    refuse(mark, "aliases (*name) are not supported; write the value out");
  }

  void OnAnchor(const YAML::Mark& mark, const std::string& name) override {
    refuse(mark, formatted("anchors (&{}) are not supported; write the value out", name));
  }

  void OnScalar(const YAML::Mark& mark,
                const std::string& tag,
                YAML::anchor_t anchor,
                const std::string& value) override {
    refuse_anchor(mark, anchor);
    refuse_tag(mark, tag);
    // yaml-cpp marks plain scalars "?" and quoted or block ones "!".
    YamlNode node = node_of(YamlNode::Kind::kScalar, mark);
    node.text = value;
    node.quoted = tag == "!";
    add(std::move(node));
  }

  void OnSequenceStart(const YAML::Mark& mark,
                       const std::string& tag,
                       YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    open(mark, tag, anchor, YamlNode::Kind::kList);
  }

  void OnSequenceEnd() override { close(); }

  void OnMapStart(const YAML::Mark& mark,
                  const std::string& tag,
                  YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    open(mark, tag, anchor, YamlNode::Kind::kMap);
  }

  void OnMapEnd() override { close(); }

 private:
  /// A list or map whose end has not come yet.
  struct Level {
    YamlNode node;
    bool has_key = false;
    std::string key{};
    Position key_position{};
  };

  [[noreturn]] void refuse(const YAML::Mark& mark, const std::string& message) const {
    throw ConfigError(at(source_, to_position(mark)) + message);
  }

  void refuse_anchor(const YAML::Mark& mark, YAML::anchor_t anchor) const {
    if (anchor != YAML::NullAnchor) {
      refuse(mark, "anchors (&name) are not supported; write the value out");
    }
  }

  void refuse_tag(const YAML::Mark& mark, const std::string& tag) const {
    if (!tag.empty() && tag != "?" && tag != "!") {
      refuse(mark, formatted("tags ({}) are not supported", tag));
    }
  }

  void open(const YAML::Mark& mark,
            const std::string& tag,
            YAML::anchor_t anchor,
            YamlNode::Kind kind) {
    refuse_anchor(mark, anchor);
    refuse_tag(mark, tag);
    if (!levels_.empty() && levels_.back().node.kind == YamlNode::Kind::kMap &&
        !levels_.back().has_key) {
      refuse(mark, "expected a word as key, found a list or a map; is a bracket left open?");
    }
    levels_.push_back(Level{.node = node_of(kind, mark)});
  }

  void close() {
    YamlNode node = std::move(levels_.back().node);
    levels_.pop_back();
    add(std::move(node));
  }

  void add(YamlNode node) {
    if (levels_.empty()) {
      root_ = std::move(node);
      return;
    }
    Level& level = levels_.back();
    if (level.node.kind == YamlNode::Kind::kList) {
      level.node.items.push_back(std::move(node));
    } else if (!level.has_key) {
      add_key(level, node);
    } else {
      level.has_key = false;
      level.node.entries.push_back({level.key, level.key_position, std::move(node)});
    }
  }

  void add_key(Level& level, const YamlNode& node) const {
    if (node.kind != YamlNode::Kind::kScalar) {
      throw ConfigError(at(source_, node.position) + "expected a word as key, found nothing");
    }
    for (const YamlEntry& entry : level.node.entries) {
      if (entry.key == node.text) {
        throw ConfigError(formatted("{}duplicate key '{}', first given in line {}",
                                    at(source_, node.position), node.text, entry.position.line));
      }
    }
    level.has_key = true;
    level.key = node.text;
    level.key_position = node.position;
  }

  const Source& source_;
  YamlNode root_;
  std::vector<Level> levels_;
  int num_documents_ = 0;
};

YamlNode build(const std::string& text, const Source& source) {
  TreeBuilder builder(source);
  try {
    std::istringstream stream(text);
    YAML::Parser parser(stream);
    // The builder refuses the second document.
    while (parser.HandleNextDocument(builder)) {
    }
  } catch (const YAML::Exception& error) {
    throw ConfigError(
        formatted("{}not valid YAML: {}", at(source, to_position(error.mark)), error.msg));
  }
  return builder.take();
}

}  // namespace

std::string at(const Source& source, const Position& position) {
  return source.has_positions ? formatted("{}:{}:{}: ", source.name, position.line, position.column)
                              : source.name + ": ";
}

std::string describe(const YamlNode& node) {
  switch (node.kind) {
    case YamlNode::Kind::kNull:
      return "nothing";
    case YamlNode::Kind::kScalar:
      return formatted("'{}'", node.text);
    case YamlNode::Kind::kList:
      return "a list";
    case YamlNode::Kind::kMap:
      return "a map";
  }
  return "";
}

YamlNode parse_yaml(const std::string& text, const Source& source) {
  YamlNode root = build(text, source);
  // yaml-cpp takes a quote that is never closed for closed where the text ends with a line feed;
  // without one it complains.
  const size_t end = text.find_last_not_of(" \t\r\n");
  static_cast<void>(build(text.substr(0, end == std::string::npos ? 0 : end + 1), source));
  return root;
}

}  // namespace lorsa::config
