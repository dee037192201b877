#include "lm/config_fields.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "lorsa/core/error.h"

namespace lorsa::lm {

using io::Json;
using io::member;
using io::member_or;

std::optional<int64_t> whole_number(const Json& value) {
  if (value.is_number_float()) {
    constexpr double kExact = 0x1.0p53;  // beyond, a double leaves whole numbers out
    const auto number = value.get<double>();
    return std::abs(number) <= kExact && number == std::trunc(number)
               ? std::optional(static_cast<int64_t>(number))
               : std::nullopt;
  }
  constexpr auto kLargest = static_cast<uint64_t>(std::numeric_limits<int64_t>::max());
  const bool fits =
      value.is_number_unsigned() ? value.get<uint64_t>() <= kLargest : value.is_number_integer();
  return fits ? std::optional(value.get<int64_t>()) : std::nullopt;
}

int64_t positive(const Json& json, const std::string& key, const std::string& where) {
  const auto whole = json.is_object() && json.contains(key) ? whole_number(json.at(key))
                                                            : std::optional<int64_t>();
  const int64_t value = whole ? *whole : member<int64_t>(json, key, where);
  LORSA_CHECK(value > 0, FormatError, "{}: {} = {}, expected > 0", where, key, value);
  return value;
}

int64_t positive_or(const Json& json,
                    const std::string& key,
                    const std::string& where,
                    int64_t fallback) {
  return json.contains(key) && !json.at(key).is_null() ? positive(json, key, where) : fallback;
}

double positive_number(const Json& json, const std::string& key, const std::string& where) {
  const auto value = member<double>(json, key, where);
  LORSA_CHECK(value > 0.0, FormatError, "{}: {} = {}, expected > 0", where, key, value);
  return value;
}

double epsilon_or(const Json& json,
                  const std::string& key,
                  const std::string& where,
                  double fallback) {
  const auto value = member_or<double>(json, key, where, fallback);
  LORSA_CHECK(value >= 0.0, FormatError, "{}: {} = {}, expected >= 0", where, key, value);
  return value;
}

std::string known_word(const Json& json,
                       const std::string& where,
                       const std::string& key,
                       std::initializer_list<std::string_view> known) {
  auto value = member_or<std::string>(json, key, where, std::string(*known.begin()));
  std::string list;
  for (const std::string_view name : known) {
    list += formatted("{}{}", list.empty() ? "" : ", ", name);
  }
  LORSA_CHECK(std::find(known.begin(), known.end(), value) != known.end(), FormatError,
              "{}: {} \"{}\" is not supported; known: {}", where, key, value, list);
  return value;
}

void set_all_layers(const LayerSpec& spec, const std::string& where, ModelConfig& config) {
  constexpr int64_t kMostLayers = 10000;  // so that a wrong number is a message, not used up memory
  LORSA_CHECK(config.num_layers <= kMostLayers, FormatError,
              "{}: num_hidden_layers: expected at most {}, found {}", where, kMostLayers,
              config.num_layers);
  config.layers.assign(static_cast<size_t>(config.num_layers), spec);
}

void AgreedNumber::take(const Json& object, const std::string& key, const std::string& where) {
  if (!object.contains(key) || object.at(key).is_null()) {
    return;
  }
  const auto value = member<double>(object, key, where);
  LORSA_CHECK(!value_.has_value() || *value_ == value, FormatError,
              "{}: {} = {} disagrees with {} = {}", where, key, value, key_, value_.value_or(0.0));
  value_ = value;
  key_ = key;
}

}  // namespace lorsa::lm
