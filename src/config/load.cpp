#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <set>
#include <sstream>
#include <stdexcept>

#include "config/yaml.h"
#include "core/file_content.h"
#include "lorsa/config/fields.h"
#include "lorsa/config/suggest.h"
#include "lorsa/core/error.h"
#include "lorsa/core/text.h"

namespace lorsa::config {
namespace {

// "train" of "train.tokens"; empty for a key of the top level.
std::string section_of(const std::string& key) {
  const size_t point = key.find('.');
  return point == std::string::npos ? "" : key.substr(0, point);
}

std::string name_of(const std::string& key) {
  return key.substr(key.find('.') + 1);
}

const Field* find_field(const Fields& fields, const std::string& key) {
  const auto& all = fields.all();
  const auto found =
      std::find_if(all.begin(), all.end(), [&key](const Field& f) { return f.key == key; });
  return found == all.end() ? nullptr : &*found;
}

bool is_section(const Fields& fields, const std::string& name) {
  const auto& sections = fields.sections();
  return std::any_of(sections.begin(), sections.end(),
                     [&name](const auto& s) { return s.first == name; });
}

std::string join(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) {
    text += text.empty() ? "" : ", ";
    text += word;
  }
  return text;
}

/// What the user may have meant by the unknown `key`: "; did you mean ...?" or the known names.
std::string hint_for(const Fields& fields, const std::string& key) {
  const std::string section = section_of(key);
  const std::string prefix = section.empty() ? "" : section + ".";
  std::vector<std::string> here;
  std::vector<std::string> same_name_elsewhere;
  for (const Field& field : fields.all()) {
    if (section_of(field.key) == section) {
      here.push_back(name_of(field.key));
    } else if (name_of(field.key) == name_of(key)) {
      same_name_elsewhere.push_back(field.key);
    }
  }
  if (section.empty()) {
    for (const auto& [name, unused] : fields.sections()) {
      here.push_back(name);
    }
  }
  if (!same_name_elsewhere.empty()) {
    return "; did you mean " + join(same_name_elsewhere) + "?";
  }
  const std::string near = nearest(name_of(key), here);
  if (!near.empty()) {
    return "; did you mean " + prefix + near + "?";
  }
  return "; known here: " + join(here);
}

std::string hint_for_section(const Fields& fields, const std::string& section) {
  std::vector<std::string> names;
  for (const auto& [name, unused] : fields.sections()) {
    names.push_back(name);
  }
  const std::string near = nearest(section, names);
  return near.empty() ? "; known sections: " + join(names) : "; did you mean " + near + "?";
}

void set_field(const Field& field,
               const YamlNode& node,
               const Position& key,
               const Source& source) {
  // An empty value has no place of its own: point at its key.
  const Position place = node.kind == YamlNode::Kind::kNull ? key : node.position;
  const std::string subject = source.has_positions ? field.key + ": " : "";
  const auto refuse = [&](const Position& position, const std::string& message) {
    throw ConfigError(at(source, position) + subject + message);
  };
  const auto expected = [&] {
    return field.choices.empty() ? field.type : "one of " + join(field.choices);
  };
  if (field.is_list != (node.kind == YamlNode::Kind::kList)) {
    const bool lone_scalar = field.is_list && node.kind == YamlNode::Kind::kScalar;
    refuse(place, formatted("expected {}, found {}{}", expected(), describe(node),
                            lone_scalar ? formatted("; write [{}]", node.text) : ""));
  }
  const std::vector<YamlNode> lone = {node};
  std::vector<std::string> texts;
  for (const YamlNode& item : field.is_list ? node.items : lone) {
    const Position position = field.is_list ? item.position : place;
    if (item.kind != YamlNode::Kind::kScalar) {
      refuse(position, formatted("expected {}, found {}", expected(), describe(item)));
    }
    if (item.quoted && !field.takes_quoted) {
      refuse(position, formatted("expected {}, found quoted text \"{}\"", expected(), item.text));
    }
    try {
      field.check(item.text);
    } catch (const std::invalid_argument& error) {
      refuse(position, error.what());
    }
    texts.push_back(item.text);
  }
  field.set(texts);
}

/// Remembers which keys were given, and where sections stand, for the report of missing keys.
struct Seen {
  std::set<std::string> keys;
  std::vector<std::pair<std::string, Position>> sections;
};

void set_section(const Fields& fields, const YamlEntry& section, const Source& source, Seen& seen) {
  seen.sections.emplace_back(section.key, section.position);
  // "train:" with all keys commented out.
  if (section.value.kind == YamlNode::Kind::kNull) {
    return;
  }
  if (section.value.kind != YamlNode::Kind::kMap) {
    throw ConfigError(formatted("{}section {}: expected keys with values, found {}",
                                at(source, section.value.position), section.key,
                                describe(section.value)));
  }
  for (const YamlEntry& entry : section.value.entries) {
    const std::string key = section.key + "." + entry.key;
    const Field* field = find_field(fields, key);
    if (field == nullptr) {
      throw ConfigError(
          formatted("{}unknown key {}{}", at(source, entry.position), key, hint_for(fields, key)));
    }
    set_field(*field, entry.value, entry.position, source);
    seen.keys.insert(key);
  }
}

/// What stands instead of a section of earlier versions; empty for every other name.
std::string instead_of(const Fields& fields, const std::string& section) {
  const auto& retired = fields.retired();
  const auto found =
      std::ranges::find_if(retired, [&](const auto& one) { return one.first == section; });
  return found == retired.end() ? "" : found->second;
}

/// Nothing, or keys with empty lists.
bool says_nothing(const YamlNode& section) {
  return section.kind == YamlNode::Kind::kNull ||
         (section.kind == YamlNode::Kind::kMap &&
          std::ranges::all_of(section.entries, [](const YamlEntry& entry) {
            return entry.value.kind == YamlNode::Kind::kList && entry.value.items.empty();
          }));
}

Seen set_file(const Fields& fields, const std::string& text, const Source& source) {
  const YamlNode root = parse_yaml(text, source);
  Seen seen;
  if (root.kind != YamlNode::Kind::kMap && root.kind != YamlNode::Kind::kNull) {
    throw ConfigError(formatted("{}expected keys with values, found {}", at(source, root.position),
                                describe(root)));
  }
  for (const YamlEntry& entry : root.entries) {
    if (is_section(fields, entry.key)) {
      set_section(fields, entry, source, seen);
      continue;
    }
    if (const std::string instead = instead_of(fields, entry.key); !instead.empty()) {
      LORSA_CHECK(says_nothing(entry.value), ConfigError, "{}section {} is no more: {}",
                  at(source, entry.position), entry.key, instead);
      continue;
    }
    const Field* field = find_field(fields, entry.key);
    const bool dotted = entry.key.find('.') != std::string::npos;
    if (field != nullptr && dotted) {
      throw ConfigError(formatted("{}unknown key '{}'; write {} inside the section {}",
                                  at(source, entry.position), entry.key, name_of(entry.key),
                                  section_of(entry.key)));
    }
    if (field == nullptr) {
      throw ConfigError(formatted("{}unknown key {}{}", at(source, entry.position), entry.key,
                                  hint_for(fields, entry.key)));
    }
    set_field(*field, entry.value, entry.position, source);
    seen.keys.insert(entry.key);
  }
  return seen;
}

void set_override(const Fields& fields, const std::string& argument, Seen& seen) {
  const size_t equals = argument.find('=');
  LORSA_CHECK(equals != std::string::npos && equals > 0, ConfigError,
              "--set {}: expected key=value, such as train.tokens=400k", argument);
  const std::string key = argument.substr(0, equals);
  const Source source{.name = "--set " + key};
  const Field* field = find_field(fields, key);
  if (field == nullptr) {
    const std::string section = section_of(key);
    const std::string instead = instead_of(fields, section);
    LORSA_CHECK(instead.empty(), ConfigError, "{}section {} is no more: {}", at(source, {}),
                section, instead);
    LORSA_CHECK(!is_section(fields, key), ConfigError,
                "--set {}: this is a section; name one of its keys", key);
    const bool lost = !section.empty() && !is_section(fields, section);
    throw ConfigError(
        formatted("{}{}", at(source, {}),
                  lost ? "unknown section " + section + hint_for_section(fields, section)
                       : "unknown key" + hint_for(fields, key)));
  }
  set_field(*field, parse_yaml(argument.substr(equals + 1), source), {}, source);
  seen.keys.insert(key);
}

void require_keys(const Fields& fields, const Seen& seen, const std::string& name) {
  for (const Field& field : fields.all()) {
    if (!field.required || seen.keys.contains(field.key)) {
      continue;
    }
    Position position;
    for (const auto& [section, place] : seen.sections) {
      if (section == section_of(field.key)) {
        position = place;
      }
    }
    throw ConfigError(formatted("{}missing key {} ({}): {}",
                                at(Source{.name = name, .has_positions = true}, position),
                                field.key, field.type, field.help));
  }
}

std::string read_configuration(const std::filesystem::path& path) {
  const auto refuse = [&path](const std::string& reason) {
    throw IoError(formatted("cannot read the configuration {}: {}", path, reason));
  };
  std::error_code ignored;
  if (std::filesystem::is_directory(path, ignored)) {
    refuse("it is a folder");
  }
  refuse_other_content(path, "a YAML configuration",
                       {Content::kText, Content::kJson, Content::kUtf16, Content::kEmpty});
  errno = 0;
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    const std::string reason = std::strerror(errno);
    refuse(reason + why_absent(path));
  }
  std::ostringstream text;
  // An empty file makes the insertion fail, which is no error.
  if (file.peek() != std::ifstream::traits_type::eof()) {
    text << file.rdbuf();
  }
  if (file.bad() || text.bad()) {
    refuse(std::strerror(errno));
  }
  try {
    return checked_text(text.str(), path.string());
  } catch (const FormatError& error) {
    throw ConfigError(error.what());
  }
}

}  // namespace

void load(Fields& fields,
          const std::filesystem::path& path,
          const std::vector<std::string>& overrides) {
  load_text(fields, read_configuration(path), path.string(), overrides);
}

void load_text(Fields& fields,
               const std::string& text,
               const std::string& name,
               const std::vector<std::string>& overrides) {
  Seen seen = set_file(fields, text, Source{.name = name, .has_positions = true});
  for (const std::string& argument : overrides) {
    set_override(fields, argument, seen);
  }
  require_keys(fields, seen, name);
}

}  // namespace lorsa::config
