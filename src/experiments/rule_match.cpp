#include "experiments/rule_match.h"

#include <algorithm>

namespace lorsa::experiments {
namespace {

std::vector<double> maxima(const std::vector<Firing>& firings, int64_t num_units) {
  std::vector<double> largest(static_cast<size_t>(num_units), 0.0);
  for (const Firing& firing : firings) {
    double& own = largest[static_cast<size_t>(firing.unit)];
    own = std::max(own, firing.value);
  }
  return largest;
}

}  // namespace

std::vector<BestUnit> best_units(const std::vector<Firing>& firings,
                                 const std::vector<std::vector<int64_t>>& rules_of,
                                 int64_t num_units,
                                 int64_t num_rules) {
  const std::vector<double> largest = maxima(firings, num_units);
  const auto units = static_cast<size_t>(num_units);
  std::vector<int64_t> applications(static_cast<size_t>(num_rules), 0);
  for (const std::vector<int64_t>& rules : rules_of) {
    for (const int64_t rule : rules) {
      ++applications[static_cast<size_t>(rule)];
    }
  }
  std::vector<BestUnit> best(static_cast<size_t>(num_rules));
  for (const double threshold : kThresholds) {
    std::vector<int64_t> fired(units, 0);
    std::vector<int64_t> right(units * static_cast<size_t>(num_rules), 0);
    for (const Firing& firing : firings) {
      const auto unit = static_cast<size_t>(firing.unit);
      if (firing.value <= threshold * largest[unit]) {
        continue;
      }
      ++fired[unit];
      for (const int64_t rule : rules_of[static_cast<size_t>(firing.candidate)]) {
        ++right[static_cast<size_t>(rule) * units + unit];
      }
    }
    for (size_t rule = 0; rule < best.size(); ++rule) {
      for (size_t unit = 0; unit < units; ++unit) {
        const int64_t hits = right[rule * units + unit];
        const double f1 = hits == 0 ? 0.0
                                    : 2.0 * static_cast<double>(hits) /
                                          static_cast<double>(fired[unit] + applications[rule]);
        if (f1 > best[rule].f1) {
          best[rule] = {static_cast<int64_t>(unit), threshold, f1, fired[unit], largest[unit]};
        }
      }
    }
  }
  return best;
}

}  // namespace lorsa::experiments
