#pragma once

#include <string>
#include <utility>
#include <vector>

#include "lorsa/core/error.h"
#include "lorsa/io/json.h"

// Enumerations in files: the one codec. config::Fields::choice() takes the same lists.

namespace lorsa::io {

template <typename Enum>
using Words = std::vector<std::pair<std::string, Enum>>;

/// The word for `value`.
template <typename Enum>
[[nodiscard]] std::string word_of(const Words<Enum>& words, Enum value) {
  for (const auto& [word, known] : words) {
    if (known == value) {
      return word;
    }
  }
  throw Error("an enumeration value without a word");
}

/// What the member `key` of `object` stands for. FormatError that names `where`, key and the words.
template <typename Enum>
[[nodiscard]] Enum value_of(const Words<Enum>& words,
                            const Json& object,
                            const std::string& key,
                            const std::string& where) {
  const auto text = member<std::string>(object, key, where);
  std::string expected;
  for (const auto& [word, value] : words) {
    if (word == text) {
      return value;
    }
    expected += (expected.empty() ? "" : ", ") + word;
  }
  throw FormatError(
      formatted("{}: {}: expected one of {}, found \"{}\"", where, key, expected, text));
}

}  // namespace lorsa::io
