#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "lorsa/io/json.h"

namespace lorsa::experiments {

/// How well one unit stands for one planted rule: its best one.
struct RuleScore {
  std::string rule;
  int64_t num_positions = 0;  ///< at which the rule applies
  int64_t unit = -1;          ///< head or feature with the best F1
  double threshold = 0.0;     ///< share of its maximum above which it counts as firing
  double f1 = 0.0;
  int64_t num_firings = 0;
  double source_share = 0.0;  ///< of the firings, those whose z-pattern is largest on a source of
                              ///< the rule; NaN for units without patterns
  int64_t mhsa_head = -1;  ///< the layer's own head with the best F1, by the norm of its output
  double mhsa_f1 = 0.0;
};

/// A checkpoint against the rules planted in the model that its cache was made of.
struct RuleReport {
  std::string checkpoint;
  std::vector<RuleScore> rules;
  double mean_f1 = 0.0;
  double mean_mhsa_f1 = 0.0;
  int64_t num_above = 0;      ///< rules with F1 above 0.9
  double source_share = 0.0;  ///< over the firings of all rules' best units
};

/// Scores every head at the candidate positions of `truth` (lorsa-toy's truth.json) in held-out
/// rows: F1 of "acts above threshold" against "the rule applies", thresholds 0, 0.1, 0.25 and 0.5
/// of the unit's maximum there. Throws ConfigError if checkpoint, cache and truth do not belong
/// together.
[[nodiscard]] RuleReport score_rules(const std::filesystem::path& checkpoint,
                                     const std::filesystem::path& cache,
                                     const std::filesystem::path& truth);

[[nodiscard]] io::Json to_json(const RuleReport& report);

}  // namespace lorsa::experiments
