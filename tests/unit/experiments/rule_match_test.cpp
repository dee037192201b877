#include "experiments/rule_match.h"

#include <algorithm>

#include "lorsa/core/seed.h"
#include "support/test.h"

using namespace lorsa;
using experiments::Firing;

namespace {

/// F1 by its definition, precision and recall counted over a dense table.
double naive_f1(const std::vector<std::vector<double>>& value_UM,
                const std::vector<std::vector<int64_t>>& rules_of,
                size_t unit,
                double threshold,
                int64_t rule) {
  const double largest = *std::ranges::max_element(value_UM[unit]);
  double hits = 0, fired = 0, applies = 0;
  for (size_t m = 0; m < rules_of.size(); ++m) {
    const bool on = value_UM[unit][m] > threshold * largest && value_UM[unit][m] > 0;
    const bool right = std::ranges::count(rules_of[m], rule) > 0;
    hits += on && right ? 1 : 0;
    fired += on ? 1 : 0;
    applies += right ? 1 : 0;
  }
  if (hits == 0) {
    return 0.0;
  }
  const double precision = hits / fired;
  const double recall = hits / applies;
  return 2 * precision * recall / (precision + recall);
}

}  // namespace

TEST_CASE("the best unit has the best F1 of all units and thresholds", "[experiments]") {
  constexpr size_t kUnits = 7;
  constexpr size_t kCandidates = 60;
  constexpr int64_t kRules = 3;
  uint64_t state = 11;
  const auto share = [&] {
    state = mix64(state);
    return static_cast<double>(state >> 11) * 0x1.0p-53;
  };
  std::vector<std::vector<int64_t>> rules_of(kCandidates);
  for (auto& rules : rules_of) {
    for (int64_t rule = 0; rule < kRules; ++rule) {
      if (share() < 0.3) {
        rules.push_back(rule);
      }
    }
  }
  std::vector<std::vector<double>> value_UM(kUnits, std::vector<double>(kCandidates, 0.0));
  std::vector<Firing> firings;
  for (size_t unit = 0; unit < kUnits; ++unit) {
    for (size_t m = 0; m < kCandidates; ++m) {
      if (share() < 0.4) {
        value_UM[unit][m] = share() * static_cast<double>(unit + 1);
        firings.push_back({static_cast<int64_t>(unit), static_cast<int64_t>(m), value_UM[unit][m]});
      }
    }
  }
  const auto best = experiments::best_units(firings, rules_of, kUnits, kRules);
  for (int64_t rule = 0; rule < kRules; ++rule) {
    double largest = 0.0;
    for (size_t unit = 0; unit < kUnits; ++unit) {
      for (const double threshold : {0.0, 0.1, 0.25, 0.5}) {
        largest = std::max(largest, naive_f1(value_UM, rules_of, unit, threshold, rule));
      }
    }
    const auto& own = best[static_cast<size_t>(rule)];
    REQUIRE(own.f1 == Approx(largest).epsilon(1e-12));
    REQUIRE(own.f1 == Approx(naive_f1(value_UM, rules_of, static_cast<size_t>(own.unit),
                                      own.threshold, rule)));
  }
}

TEST_CASE("a weak false firing is left out by the threshold", "[experiments]") {
  // Unit 1 acts strongly where rule 0 applies and weakly elsewhere: perfect above a quarter.
  const std::vector<std::vector<int64_t>> rules_of = {{0}, {}, {0}, {}};
  const std::vector<Firing> firings = {{1, 0, 4.0}, {1, 1, 0.9}, {1, 2, 3.0}, {0, 3, 5.0}};
  const auto best = experiments::best_units(firings, rules_of, 2, 2);
  REQUIRE(best[0].unit == 1);
  REQUIRE(best[0].threshold == 0.25);
  REQUIRE(best[0].f1 == 1.0);
  REQUIRE(best[0].num_firings == 2);
  REQUIRE(best[0].maximum == 4.0);
  REQUIRE(best[1].unit == -1);
  REQUIRE(best[1].f1 == 0.0);
}
