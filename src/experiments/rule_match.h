#pragma once

#include <array>
#include <cstdint>
#include <vector>

namespace lorsa::experiments {

/// Shares of a unit's maximum above which it counts as firing.
inline constexpr std::array<double, 4> kThresholds = {0.0, 0.1, 0.25, 0.5};

/// A unit's positive activation at a candidate position.
struct Firing {
  int64_t unit = 0;
  int64_t candidate = 0;
  double value = 0.0;
};

/// The unit that stands best for a rule.
struct BestUnit {
  int64_t unit = -1;  ///< -1: none fires where the rule applies
  double threshold = 0.0;
  double f1 = 0.0;
  int64_t num_firings = 0;  ///< above the threshold
  double maximum = 0.0;     ///< of the unit
};

/// For every rule the unit and threshold of the best F1 = 2 TP / (firings + applications); ties:
/// the lower threshold, then the lower unit.
///
/// `rules_of` lists the rules that apply at each candidate. A unit fires where its value exceeds
/// threshold times its largest one.
[[nodiscard]] std::vector<BestUnit> best_units(const std::vector<Firing>& firings,
                                               const std::vector<std::vector<int64_t>>& rules_of,
                                               int64_t num_units,
                                               int64_t num_rules);

}  // namespace lorsa::experiments
