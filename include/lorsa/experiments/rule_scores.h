#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "lorsa/core/api.h"
#include "lorsa/io/json.h"
#include "lorsa/study/study.h"

namespace lorsa::experiments {

/// How well one unit stands for one planted rule: its best one.
struct RuleScore {
  std::string rule;
  int64_t num_positions = 0;  ///< at which the rule applies
  int64_t unit = -1;          ///< head or feature with the best F1; -1: none acts there
  double threshold = 0.0;     ///< share of its maximum above which it counts as firing
  double f1 = 0.0;
  int64_t num_firings = 0;
  /// Of the firings, those at which the rule applies and the z-pattern is largest on one of its
  /// sources; NaN without patterns (an SAE) or firings.
  double source_share = 0.0;
  int64_t mhsa_head = -1;  ///< the layer's own head with the best F1, by the norm of its output
  double mhsa_f1 = 0.0;
};

/// A checkpoint against the rules planted in the model that its cache was made of.
struct RuleReport {
  std::string checkpoint;
  int64_t num_candidates = 0;  ///< positions looked at
  std::vector<RuleScore> rules;
  double mean_f1 = 0.0;
  double mean_mhsa_f1 = 0.0;
  int64_t num_above = 0;  ///< rules whose F1 exceeds 0.9: the matched ones
  /// Over the firings of the matched rules' units, as RuleScore has it; NaN where there are none.
  double source_share = 0.0;
  /// Over the firings of all rules' units, those whose z-pattern is largest on a source of any rule
  /// that applies there.
  double any_source_share = 0.0;
};

/// Scores every head at the candidate positions of `truth` (lorsa-toy's truth.json) in held-out
/// rows: F1 of "acts above threshold" against "the rule applies", thresholds 0, 0.1, 0.25 and 0.5
/// of the unit's maximum there. Of a study's first member. Throws ConfigError if its cache and the
/// truth do not belong together.
[[nodiscard]] LORSA_API RuleReport score_rules(const study::Study& study,
                                               const std::filesystem::path& truth);

[[nodiscard]] LORSA_API io::Json to_json(const RuleReport& report);

}  // namespace lorsa::experiments
