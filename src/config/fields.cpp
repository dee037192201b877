#include "lorsa/config/fields.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>

#include "config/values.h"
#include "lorsa/core/error.h"

namespace lorsa::config {
namespace {

// Whole limits without a point: a range of a count reads "[1, 64]".
std::string print_limit(double value) {
  const bool whole = std::abs(value) < 1e15 && value == std::floor(value);
  return whole ? std::to_string(static_cast<int64_t>(value)) : print_number(value);
}

/// A field of one scalar that `parse` turns into a Value.
template <typename Value, typename Parse, typename Print>
Field scalar_field(const char* type, Value& value, const Parse& parse, const Print& print) {
  Field field;
  field.type = type;
  field.check = [parse](const std::string& text) { static_cast<void>(parse(text)); };
  field.set = [&value, parse](const std::vector<std::string>& texts) {
    if (texts.size() != 1) {
      throw std::invalid_argument(formatted("expected one value, found {}", texts.size()));
    }
    value = parse(texts.front());
  };
  field.get = [&value, print] { return print(value); };
  return field;
}

template <typename Value, typename Parse, typename Print>
Field list_field(const char* type,
                 std::vector<Value>& value,
                 const Parse& parse,
                 const Print& print) {
  Field field;
  field.type = type;
  field.is_list = true;
  field.check = [parse](const std::string& text) { static_cast<void>(parse(text)); };
  field.set = [&value, parse](const std::vector<std::string>& texts) {
    std::vector<Value> parsed;
    for (const std::string& text : texts) {
      parsed.push_back(parse(text));
    }
    value = std::move(parsed);
  };
  field.get = [&value, print] {
    std::vector<std::string> items;
    for (const Value& item : value) {
      items.push_back(print(item));
    }
    return print_list(items);
  };
  return field;
}

std::string same_text(const std::string& text) {
  return text;
}

std::string print_count(int64_t value) {
  return std::to_string(value);
}

/// `parse`, then refuses what lies outside `range`.
template <typename Range, typename Parse>
auto within(const std::shared_ptr<Range>& range, Parse parse) {
  return [range, parse](const std::string& text) {
    const auto parsed = parse(text);
    range->require(static_cast<double>(parsed), text);
    return parsed;
  };
}

}  // namespace

void Fields::Range::require(double value, const std::string& text) const {
  if (!(value >= low && value <= high)) {
    throw std::invalid_argument(
        formatted("expected {}{}, found {}", print_limit(low),
                  std::isinf(high) ? " or more" : " to " + print_limit(high), text));
  }
}

std::string Fields::Range::describe() const {
  if (std::isinf(low)) {
    return "";
  }
  if (std::isinf(high)) {
    return ">= " + print_limit(low);
  }
  return "[" + print_limit(low) + ", " + print_limit(high) + "]";
}

Fields::Last& Fields::Last::at_least(double low) {
  owner_.set_range(index_, low, std::numeric_limits<double>::infinity());
  return *this;
}

Fields::Last& Fields::Last::between(double low, double high) {
  owner_.set_range(index_, low, high);
  return *this;
}

Fields::Last& Fields::Last::required() {
  owner_.fields_[index_].required = true;
  return *this;
}

void Fields::set_range(size_t index, double low, double high) {
  LORSA_CHECK(ranges_[index] != nullptr, Error, "config key {} of type {} cannot have a range",
              fields_[index].key, fields_[index].type);
  *ranges_[index] = {low, high};
  fields_[index].range = ranges_[index]->describe();
}

void Fields::section(const std::string& name, const std::string& help) {
  for (const auto& [known, unused] : sections_) {
    LORSA_CHECK(known != name, Error, "config section {} is described twice", name);
  }
  LORSA_CHECK(!name.empty() && name.find('.') == std::string::npos, Error,
              "config section '{}': expected a name without a point", name);
  sections_.emplace_back(name, help);
}

Fields::Last Fields::add(const std::string& key,
                         const std::string& help,
                         Field field,
                         std::shared_ptr<Range> range) {
  field.key = sections_.empty() ? key : formatted("{}.{}", sections_.back().first, key);
  field.help = help;
  for (const Field& known : fields_) {
    LORSA_CHECK(known.key != field.key, Error, "config key {} is described twice", field.key);
  }
  if (field.default_text.empty()) {
    field.default_text = field.get();
  }
  if (range != nullptr) {
    field.range = range->describe();
  }
  fields_.push_back(std::move(field));
  ranges_.push_back(std::move(range));
  return Last(*this, fields_.size() - 1);
}

Fields::Last Fields::count(const std::string& key, int64_t& value, const std::string& help) {
  const auto range = std::make_shared<Range>();
  Field field = scalar_field("count", value, within(range, parse_count), print_count);
  field.default_text = print_short_count(value);
  return add(key, help, std::move(field), range);
}

Fields::Last Fields::bytes(const std::string& key, int64_t& value, const std::string& help) {
  const auto range = std::make_shared<Range>();
  range->low = 0.0;
  Field field = scalar_field("bytes", value, within(range, parse_bytes), print_bytes);
  return add(key, help, std::move(field), range);
}

Fields::Last Fields::number(const std::string& key, double& value, const std::string& help) {
  const auto range = std::make_shared<Range>();
  Field field = scalar_field("number", value, within(range, parse_number), print_number);
  return add(key, help, std::move(field), range);
}

Fields::Last Fields::boolean(const std::string& key, bool& value, const std::string& help) {
  Field field = scalar_field("boolean", value, parse_boolean,
                             [](bool set) { return set ? "true" : "false"; });
  return add(key, help, std::move(field), nullptr);
}

Fields::Last Fields::text(const std::string& key, std::string& value, const std::string& help) {
  Field field = scalar_field("text", value, same_text, print_text);
  field.takes_quoted = true;
  return add(key, help, std::move(field), nullptr);
}

Fields::Last Fields::path(const std::string& key,
                          std::filesystem::path& value,
                          const std::string& help) {
  Field field = scalar_field(
      "path", value, [](const std::string& text) { return std::filesystem::path(text); },
      [](const std::filesystem::path& path) { return print_text(path.string()); });
  field.takes_quoted = true;
  return add(key, help, std::move(field), nullptr);
}

Fields::Last Fields::text_list(const std::string& key,
                               std::vector<std::string>& value,
                               const std::string& help) {
  Field field = list_field("list of text", value, same_text, print_text);
  field.takes_quoted = true;
  return add(key, help, std::move(field), nullptr);
}

Fields::Last Fields::count_list(const std::string& key,
                                std::vector<int64_t>& value,
                                const std::string& help) {
  const auto range = std::make_shared<Range>();
  Field field = list_field("list of counts", value, within(range, parse_count), print_count);
  return add(key, help, std::move(field), range);
}

Fields::Last Fields::add_choice(const std::string& key,
                                const std::vector<std::string>& words,
                                const std::string& help,
                                const std::function<void(size_t)>& set_index,
                                const std::function<size_t()>& get_index) {
  const auto find = [words](const std::string& text) {
    const auto word = std::find(words.begin(), words.end(), text);
    if (word == words.end()) {
      std::string expected;
      for (const std::string& candidate : words) {
        expected += expected.empty() ? "" : ", ";
        expected += candidate;
      }
      throw std::invalid_argument(formatted("expected one of {}, found '{}'", expected, text));
    }
    return static_cast<size_t>(word - words.begin());
  };
  Field field;
  field.type = "one of";
  field.choices = words;
  field.takes_quoted = true;
  field.check = [find](const std::string& text) { static_cast<void>(find(text)); };
  field.set = [find, set_index](const std::vector<std::string>& texts) {
    if (texts.size() != 1) {
      throw std::invalid_argument(formatted("expected one value, found {}", texts.size()));
    }
    set_index(find(texts.front()));
  };
  field.get = [key, words, get_index] {
    const size_t index = get_index();
    LORSA_CHECK(index < words.size(), Error, "config key {} holds a value without a word", key);
    return print_text(words[index]);
  };
  return add(key, help, std::move(field), nullptr);
}

void check_ranges(const Fields& fields, const Fields& defaults) {
  for (size_t i = 0; i < fields.all().size(); ++i) {
    const Field& field = fields.all()[i];
    if (field.range.empty() || field.is_list || field.get() == defaults.all()[i].get()) {
      continue;
    }
    try {
      field.check(field.get());
    } catch (const std::invalid_argument& error) {
      throw ConfigError(formatted("`{}`: {}", field.key, error.what()));
    }
  }
}

}  // namespace lorsa::config
