#include "data/plan_difference.h"

#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "data/manifest_json.h"
#include "lorsa/core/error.h"

namespace lorsa::data {
namespace {

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) {
    lines.push_back(line);
  }
  return lines;
}

/// Lines of `text` that `other` does not have, each behind `sign`.
std::string lines_only_in(const std::string& text, const std::string& other, const char* sign) {
  std::vector<std::string> known_lines = lines_of(other);
  const std::multiset<std::string> known(known_lines.begin(), known_lines.end());
  std::string result;
  for (const std::string& line : lines_of(text)) {
    if (!known.contains(line)) {
      result += formatted("\n  {} {}", sign, line);
    }
  }
  return result;
}

/// A line for every member of `before` that is another in `now`, which has the same members;
/// `prefix` stands before the names.
std::string differing_members(const io::Json& before,
                              const io::Json& now,
                              const std::string& prefix) {
  std::string text;
  for (const auto& [key, value] : before.items()) {
    const io::Json& other = now.at(key);
    if (value.is_object() && other.is_object()) {
      text += differing_members(value, other, formatted("{}{}.", prefix, key));
    } else if (value != other && formatted("{}{}", prefix, key) != "config") {
      text +=
          formatted("\n  {}{}: {} in the folder, now {}", prefix, key, value.dump(), other.dump());
    }
  }
  return text;
}

}  // namespace

std::string plan_difference(const Manifest& before, const Manifest& now) {
  const io::Json old_plan = plan_json(before);
  const io::Json new_plan = plan_json(now);
  std::string text = differing_members(old_plan, new_plan, "");
  text += lines_only_in(before.config_yaml, now.config_yaml, "-");
  text += lines_only_in(now.config_yaml, before.config_yaml, "+");
  if (before.own_special_tokens != now.own_special_tokens) {
    text +=
        "\n  (begun by an earlier version, whose rows differ for documents with special tokens)";
  }
  // Only the order of lines or their number differs.
  return text.empty() && old_plan != new_plan ? "\n  config" : text;
}

}  // namespace lorsa::data
