#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <limits>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "lorsa/core/api.h"

namespace lorsa::config {

/// One key of a configuration: what parsing, printing, `--help` and docs/config.md know about it.
struct Field {
  std::string key;   ///< dotted, "train.learning_rate"
  std::string type;  ///< as shown to users: "count", "number", "text", "one of", "list of text" ...
  std::string help;  ///< one sentence; units in the key's name
  std::string default_text;  ///< the value that the struct held when it was described, as YAML;
                             ///< large counts with a suffix
  std::string range;         ///< "[0, 1]", ">= 1"; empty when free
  std::vector<std::string> choices;  ///< allowed words of a choice
  bool required = false;             ///< must stand in the file or in a --set
  bool is_list = false;
  bool takes_quoted = false;  ///< quoted YAML scalars are legal: text and choices, not numbers
  /// Throws std::invalid_argument "expected ..., found ..." unless the scalar is a legal value (of
  /// one element, for a list).
  std::function<void(const std::string&)> check;
  /// Parses the scalars (exactly one unless is_list) into the struct; throws as check() does.
  std::function<void(const std::vector<std::string>&)> set;
  /// The present value as YAML (flow style for lists).
  std::function<std::string()> get;
};

/// The description of a configuration struct: one `describe(Fields&, Config&)` per struct serves
/// everything.
///
///     void describe(Fields& f, TrainConfig& c) {
///       f.section("train", "The training loop.");
///       f.count("tokens", c.tokens, "Tokens to train on.").at_least(1);
///       f.number("learning_rate", c.learning_rate, "Peak rate of Adam.").between(0, 1);
///     }
///
/// References handed in must outlive the Fields. Defaults are what the struct holds when described.
/// Keys described before the first section stand at the top level of the file. Describing a key or
/// a section twice, or giving a range to something that is not a number, throws Error.
class LORSA_API Fields {
 public:
  /// Refines the field just added.
  class Last {
   public:
    Last& at_least(double low);
    Last& between(double low, double high);
    Last& required();

   private:
    friend class Fields;

    Last(Fields& owner, size_t index) : owner_(owner), index_(index) {}

    Fields& owner_;
    size_t index_;
  };

  /// Keys added from here on belong to `name`. A section may be opened once.
  void section(const std::string& name, const std::string& help);

  /// A section of earlier versions. Files may still hold it with empty lists alone, as to_yaml()
  /// wrote it then; anything else of it is a ConfigError that says what is there `instead`.
  void retired(const std::string& section, const std::string& instead) {
    retired_.emplace_back(section, instead);
  }

  /// Whole number; accepts the suffixes k, M, B (10^3, 10^6, 10^9): `200k`, `1.5M`. Rejects
  /// octal-looking `010`.
  Last count(const std::string& key, int64_t& value, const std::string& help);
  /// Bytes, not negative; accepts KiB, MiB, GiB, TiB and kB, MB, GB, TB.
  Last bytes(const std::string& key, int64_t& value, const std::string& help);
  /// Finite floating-point number.
  Last number(const std::string& key, double& value, const std::string& help);
  /// true or false, nothing else.
  Last boolean(const std::string& key, bool& value, const std::string& help);
  Last text(const std::string& key, std::string& value, const std::string& help);
  Last path(const std::string& key, std::filesystem::path& value, const std::string& help);
  Last text_list(const std::string& key, std::vector<std::string>& value, const std::string& help);
  Last count_list(const std::string& key, std::vector<int64_t>& value, const std::string& help);

  /// One of a fixed set of words.
  template <typename Enum>
  Last choice(const std::string& key,
              Enum& value,
              const std::vector<std::pair<std::string, Enum>>& words,
              const std::string& help) {
    std::vector<std::string> names;
    for (const auto& [word, unused] : words) {
      names.push_back(word);
    }
    return add_choice(
        key, names, help, [&value, words](size_t index) { value = words[index].second; },
        [&value, words]() {
          for (size_t i = 0; i < words.size(); ++i) {
            if (words[i].second == value) {
              return i;
            }
          }
          return words.size();
        });
  }

  [[nodiscard]] const std::vector<Field>& all() const { return fields_; }

  /// Section names with their help, in order of opening.
  [[nodiscard]] const std::vector<std::pair<std::string, std::string>>& sections() const {
    return sections_;
  }

  /// What retired() was told.
  [[nodiscard]] const std::vector<std::pair<std::string, std::string>>& retired() const {
    return retired_;
  }

 private:
  friend class Last;
  Last add_choice(const std::string& key,
                  const std::vector<std::string>& words,
                  const std::string& help,
                  const std::function<void(size_t)>& set_index,
                  const std::function<size_t()>& get_index);

  struct Range {
    double low = -std::numeric_limits<double>::infinity();
    double high = std::numeric_limits<double>::infinity();

    /// Throws std::invalid_argument unless `value`, which the user wrote as `text`, lies inside.
    void require(double value, const std::string& text) const;
    /// "[0, 1]", ">= 1", or empty.
    [[nodiscard]] std::string describe() const;
  };

  // Shared with the parsing closures of each field; null for fields that are not numbers.
  Last add(const std::string& key,
           const std::string& help,
           Field field,
           std::shared_ptr<Range> range);
  void set_range(size_t index, double low, double high);

  std::vector<Field> fields_;
  std::vector<std::shared_ptr<Range>> ranges_;
  std::vector<std::pair<std::string, std::string>> sections_;
  std::vector<std::pair<std::string, std::string>> retired_;
};

/// Sets `fields` from a YAML file, then from `key=value` overrides in order (`--set a.b=c`, lists
/// as `[a, b]`).
///
/// Strict: an unknown key (with the nearest known name), a duplicate key, an ill-typed or
/// out-of-range value, a missing required key, an anchor/alias or an octal number throws
/// ConfigError "path:line:column: ...", or "--set key: ..." for an override. IoError if the file
/// cannot be read.
LORSA_API void load(Fields& fields,
                    const std::filesystem::path& path,
                    const std::vector<std::string>& overrides);

/// As load(), from text; `name` stands for the path in messages.
LORSA_API void load_text(Fields& fields,
                         const std::string& text,
                         const std::string& name,
                         const std::vector<std::string>& overrides);

/// Throws ConfigError naming the key, expected and found for a number outside its range that is not
/// the default's.
LORSA_API void check_ranges(const Fields& fields, const Fields& defaults);

/// The same of a struct that a program filled.
template <typename Options>
void check_ranges_of(Options options) {
  Options initial;
  Fields fields, defaults;
  describe(fields, options);
  describe(defaults, initial);
  check_ranges(fields, defaults);
}

/// The resolved configuration as YAML that load() accepts.
[[nodiscard]] LORSA_API std::string to_yaml(const Fields& fields);

/// Key, type, default, range and help, for the end of `--help`.
[[nodiscard]] LORSA_API std::string help_text(const Fields& fields);

/// A Markdown section per configuration section, for docs/config.md.
[[nodiscard]] LORSA_API std::string to_markdown(const Fields& fields);

/// "200k" -> 200000. Throws std::invalid_argument "expected ..., found ...".
[[nodiscard]] LORSA_API int64_t parse_count(const std::string& text);

}  // namespace lorsa::config
