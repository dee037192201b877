#pragma once

#include <optional>
#include <string>
#include <vector>

#include "lorsa/core/api.h"
#include "lorsa/eval/evaluate.h"

namespace lorsa::eval {

/// Which of two values is the better one.
enum class Better { kLower, kHigher, kNeither };

/// A number of an evaluation, described once: tables, JSON, pages and docs/metrics.md come from
/// this.
struct Metric {
  const char* name;
  const char* unit;  ///< "nats"; empty for a number or share
  Better better;
  const char* meaning;                             ///< a few words
  std::optional<double> (*of)(const EvalReport&);  ///< nothing where it was not measured
};

/// All of them, in the order in which they are reported.
[[nodiscard]] LORSA_API const std::vector<Metric>& eval_metrics();

/// "lower", "higher" or empty.
[[nodiscard]] LORSA_API std::string to_string(Better better);

/// A Markdown table of all, for docs/metrics.md.
[[nodiscard]] LORSA_API std::string metrics_markdown();

}  // namespace lorsa::eval
