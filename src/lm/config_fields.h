#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>

#include "lorsa/io/json.h"
#include "lorsa/lm/model_config.h"

// Members of config.json, checked. Every function throws FormatError "<where>: <key> ...".

namespace lorsa::lm {

/// `value` if it is a whole number, also one that is written as 8192.0.
[[nodiscard]] std::optional<int64_t> whole_number(const io::Json& value);

/// A whole number above 0.
[[nodiscard]] int64_t positive(const io::Json& json,
                               const std::string& key,
                               const std::string& where);

/// As positive(), with a value for an absent or null key.
[[nodiscard]] int64_t positive_or(const io::Json& json,
                                  const std::string& key,
                                  const std::string& where,
                                  int64_t fallback);

/// A number above 0.
[[nodiscard]] double positive_number(const io::Json& json,
                                     const std::string& key,
                                     const std::string& where);

/// A norm's epsilon, at least 0.
[[nodiscard]] double epsilon_or(const io::Json& json,
                                const std::string& key,
                                const std::string& where,
                                double fallback);

/// One of `known`; the first where the key is absent or null.
[[nodiscard]] std::string known_word(const io::Json& json,
                                     const std::string& where,
                                     const std::string& key,
                                     std::initializer_list<std::string_view> known);

/// Gives every layer this spec. The number of layers is one that a model can have.
void set_all_layers(const LayerSpec& spec, const std::string& where, ModelConfig& config);

/// One number that files spell in several places: all that are present must agree.
class AgreedNumber {
 public:
  /// Takes `object`'s `key` if it is there.
  void take(const io::Json& object, const std::string& key, const std::string& where);

  [[nodiscard]] double value_or(double fallback) const { return value_.value_or(fallback); }

 private:
  std::optional<double> value_;
  std::string key_;
};

}  // namespace lorsa::lm
