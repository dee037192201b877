#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "lorsa/io/json.h"

namespace lorsa::experiments {

/// What the errors e = t - y of a checkpoint are made of, beside those of a reference (an SAE of
/// the same layer). Regressions are fitted on training rows and judged on held-out ones, so that a
/// share is what is really predicted; it can be negative.
struct ErrorAnalysis {
  std::string checkpoint, reference;
  int64_t num_fit_tokens = 0;
  int64_t num_tokens = 0;  ///< held-out, judged
  double fvu = 0.0;
  double reference_fvu = 0.0;

  /// Of the variance of the error vector, by ridge regression: the reference's error vector, the
  /// input, the target.
  double vector_from_reference = 0.0;
  double vector_from_input = 0.0;
  double vector_from_target = 0.0;

  /// Of the variance of |e|^2, each alone and all together ("all"): "reference_error" (its |e|^2),
  /// "target_norm", "position", "token_frequency", "attention_entropy" (of every MHSA head).
  std::vector<std::pair<std::string, double>> norm_from;

  /// Error norm against target norm: means over equal-count bins of |t|, and the slope of log |e|
  /// on log |t|.
  struct Bin {
    double target_norm = 0.0;
    double error_norm = 0.0;
    double reference_error_norm = 0.0;
  };

  std::vector<Bin> by_target_norm;
  double log_slope = 0.0;
  double log_correlation = 0.0;

  /// The target's principal directions over held-out tokens, by variance: each one's share of the
  /// target's variance, and of it what is left unexplained by checkpoint and reference.
  std::vector<double> variance_share;
  std::vector<double> unexplained;
  std::vector<double> reference_unexplained;
};

struct ErrorAnalysisOptions {
  std::filesystem::path cache;
  int64_t max_fit_rows = 400;
  int64_t max_rows = 0;  ///< 0: all held-out rows
  int64_t batch_sequences = 8;
};

/// Throws ConfigError if the checkpoints do not belong to the cache, or it has no held-out rows.
[[nodiscard]] ErrorAnalysis analyze_errors(const std::filesystem::path& checkpoint,
                                           const std::filesystem::path& reference,
                                           const ErrorAnalysisOptions& options);

[[nodiscard]] io::Json to_json(const ErrorAnalysis& analysis);

}  // namespace lorsa::experiments
