#pragma once

// The axes of a sweep and the points they span.

#include <cstddef>
#include <string>
#include <vector>

namespace lorsa::experiments {

/// Whose configuration a setting belongs to.
enum class Stage { kToy, kCache, kTrain };

/// "toy:", "cache:" or nothing: what stands before a key of that stage.
[[nodiscard]] const char* prefix_of(Stage stage);

/// A key with the stage it belongs to.
struct StageKey {
  Stage stage = Stage::kTrain;
  std::string key;  ///< dotted, without a prefix

  /// As a user writes it.
  [[nodiscard]] std::string full() const { return prefix_of(stage) + key; }

  bool operator==(const StageKey&) const = default;
};

/// One key and its value.
struct Setting {
  StageKey key;
  std::string yaml;  ///< the value as --set takes it
  std::string text;  ///< the value for names and messages: without quotes and brackets

  /// "key=value" for config::load().
  [[nodiscard]] std::string override_text() const { return key.key + "=" + yaml; }
};

/// Keys that take their values together.
struct Axis {
  std::string text;  ///< as the user wrote it
  std::vector<StageKey> keys;
  std::vector<std::vector<Setting>> points;  ///< a setting for every key
};

/// A combination of the axes' values.
struct GridPoint {
  std::string name;  ///< fit for a file name, unlike those of all other points
  std::vector<Setting> settings;
};

/// A text as YAML, in single quotes.
[[nodiscard]] std::string quoted_yaml(const std::string& text);

/// Of "key=value". Throws ConfigError naming `where`.
[[nodiscard]] Setting parse_setting(const std::string& text, const std::string& where);

/// Of "key=[v, ...]; key=[v, ...]". Values are what --set takes; those of a key that is a list are
/// lists themselves. Throws ConfigError that names the axis: syntax, lists of unequal length, no
/// values, a key that stands in two axes.
[[nodiscard]] std::vector<Axis> parse_axes(const std::vector<std::string>& texts);

/// All combinations, the first axis slowest; one point named "run" without axes. Throws ConfigError
/// for two points of equal settings and for names that would be equal or too long.
[[nodiscard]] std::vector<GridPoint> grid_points(const std::vector<Axis>& axes);

/// A name for those settings whose stage is listed: "d_qk-16_seed-0". A key is its last part, or
/// the whole key where another one of `settings` ends alike; `none` stands for no setting.
[[nodiscard]] std::string name_of(const std::vector<Setting>& settings,
                                  const std::vector<Stage>& stages,
                                  const std::string& none);

}  // namespace lorsa::experiments
