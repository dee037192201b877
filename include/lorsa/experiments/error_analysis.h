#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "lorsa/core/api.h"
#include "lorsa/io/json.h"
#include "lorsa/study/study.h"

namespace lorsa::experiments {

/// What the errors e = t - y of a checkpoint are made of, beside those of a reference (an SAE of
/// the same layer). Regressions are fitted on scored tokens of training rows and judged on those of
/// held-out ones, so that a share is what is really predicted: sum |v - predicted|^2 over sum |v -
/// mean v|^2 (the held-out mean), taken from 1. It can be negative; it is not finite where nothing
/// varies (null in JSON).
struct ErrorAnalysis {
  std::string checkpoint, reference;
  int64_t num_fit_tokens = 0;
  int64_t num_tokens = 0;  ///< held-out, judged
  double fvu = 0.0;        ///< as metrics::ReconstructionReport defines it
  double reference_fvu = 0.0;

  /// Of the variance of the error vector e, by ridge regression with an intercept: the reference's
  /// error vector, the input, the target. Penalty: as much as D more tokens of the features' mean
  /// variance in every direction would weigh, so that it vanishes as tokens exceed dimensions.
  double vector_from_reference = 0.0;
  double vector_from_input = 0.0;
  double vector_from_target = 0.0;

  /// Of the variance of |e|^2, by least squares with an intercept, each group alone and all
  /// together:
  /// - "reference_error": its |e|^2
  /// - "target_norm": |t| and |t|^2
  /// - "position": p / T, log(1 + p), and sine and cosine of 2 pi k p / T for k = 1, 2
  /// - "token_frequency": log(1 + count) of the token in the scored tokens that are fitted on
  /// - "attention_entropy": of the pattern of every head of the layer itself, nats
  /// - "all"
  std::vector<std::pair<std::string, double>> norm_from;

  /// Means over the tokens of a bin: 20 bins of |t| with equally many tokens (to one), ascending;
  /// fewer for fewer than 20 tokens.
  struct Bin {
    double target_norm = 0.0;
    double error_norm = 0.0;
    double reference_error_norm = 0.0;
  };

  std::vector<Bin> by_target_norm;
  /// Of log |e| on log |t| by least squares, and Pearson's correlation of both, over tokens where
  /// neither is 0.
  double log_slope = 0.0;
  double log_correlation = 0.0;

  /// The target's principal directions u over held-out tokens (of its covariance), most variance
  /// first: share of the variance, and of it what is left unexplained, sum (u.(e - mean e))^2 / sum
  /// (u.(t - mean t))^2. The sum of share times unexplained is fvu less |mean e|^2 per token over
  /// the target's variance. Directions with less than 1e-9 of the first one's variance are left
  /// out: rounding.
  std::vector<double> variance_share;
  std::vector<double> unexplained;
  std::vector<double> reference_unexplained;
};

/// The errors of a study's first member, beside those of its second, the reference, on rows of its
/// cache: regressions are fitted on at most `max_fit_rows` training rows, evenly spread. Reads the
/// rows to fit on, then the held-out ones, once each; sums in double.
///
/// Memory: eleven matrices of D^2 doubles and, for each token, a double for every head of the layer
/// and eleven more. Throws ConfigError for other than two members and a cache without held-out or
/// training rows that have scored tokens; Interrupted after a StopSignal.
[[nodiscard]] LORSA_API ErrorAnalysis analyze_errors(const study::Study& study,
                                                     const study::PassOptions& pass,
                                                     int64_t max_fit_rows = 400);

[[nodiscard]] LORSA_API io::Json to_json(const ErrorAnalysis& analysis);

}  // namespace lorsa::experiments
