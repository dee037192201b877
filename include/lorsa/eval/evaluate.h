#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "lorsa/config/fields.h"
#include "lorsa/core/api.h"
#include "lorsa/core/site.h"
#include "lorsa/eval/interventions.h"
#include "lorsa/eval/mhsa_comparison.h"
#include "lorsa/io/json.h"
#include "lorsa/metrics/reconstruction.h"
#include "lorsa/metrics/usage.h"
#include "lorsa/study/study.h"

namespace lorsa::eval {

/// What a replaced layer does to the language model, over next-token predictions within the
/// held-out rows: a position counts if the token after it is scored. The layer's output is replaced
/// at scored positions only.
struct LanguageReport {
  int64_t num_predictions = 0;
  double ce_original = 0.0;      ///< mean cross-entropy of the untouched model, nats
  double ce_replaced = 0.0;      ///< with the Lorsa's output in place of the layer's
  double ce_zero_ablated = 0.0;  ///< with zeros
  double ce_mean_ablated = 0.0;  ///< with the cache's mean target
  double ce_recovered = 0.0;     ///< (zero - replaced) / (zero - original)
  double kl = 0.0;  ///< mean KL(original || replaced) of the next-token distributions, nats
};

/// Positions of a bucket of LongContextReport.
inline constexpr int64_t kBucketPositions = 256;

/// How well a layer is reconstructed on rows longer than those of the cache. They are made of the
/// held-out rows laid end to end, without the BOS that each of these begins with: not one document,
/// though what follows what within a cache's row does here. Inputs and targets are those of the
/// language model run on them.
struct LongContextReport {
  int64_t context_length = 0;
  int64_t num_rows = 0;
  int64_t num_tokens = 0;  ///< scored
  double fvu = 0.0;        ///< as ReconstructionReport defines it
  /// fvu at kBucketPositions positions at a time (the last bucket may have fewer), the mean taken
  /// over the bucket; NaN without scored tokens.
  std::vector<double> fvu_per_bucket;
};

/// What the errors of this checkpoint have in common with those of another one of the same call;
/// metrics::ErrorCorrelationReport defines the numbers.
struct SharedError {
  std::string checkpoint;
  double cosine = 0.0;
  double squared_norm_correlation = 0.0;
  double explained = 0.0;
};

/// What evaluate() measures.
struct EvalOptions {
  study::PassOptions pass;
  int64_t pattern_rows = 16;  ///< of the held-out rows, at most so many for PatternReport; 0: none
  std::vector<int64_t> context_lengths;  ///< of LongContextReports; they need a model
  InterventionOptions interventions;     ///< edits of heads; they need a model and one member
};

LORSA_API void describe(config::Fields& fields, EvalOptions& options);

struct EvalReport {
  std::string checkpoint;
  std::string kind;  ///< a name of model::kinds()
  std::string model_name;
  Site site;
  int64_t top_k = 0;
  int64_t num_ov_heads = 0;
  bool has_heads = true;  ///< OV heads of attention, not features
  int64_t num_rows = 0;
  metrics::ReconstructionReport reconstruction;
  metrics::UsageReport usage;
  std::optional<LanguageReport> language;
  std::optional<PatternReport> patterns;         ///< of a Lorsa
  std::optional<SpreadReport> spread;            ///< of attention sites
  std::vector<LongContextReport> long_contexts;  ///< in the order of EvalOptions::context_lengths
  std::optional<InterventionReport> interventions;
  std::vector<SharedError> shared_errors;  ///< of several checkpoints: with each, itself included
};

/// Judges a study's members on the held-out rows of its cache, in one pass for all measures and
/// members; with a model also by what the language model loses.
///
/// Throws ConfigError naming both sides if a member stands for another site than the cache, if the
/// cache has no held-out rows or too few for a context length, for a context length without a model
/// or beyond the model's positions, and if interventions cannot be carried out. Honours StopSignal
/// with Interrupted.
[[nodiscard]] LORSA_API std::vector<EvalReport> evaluate(const study::Study& study,
                                                         const EvalOptions& options);

/// Keys as docs/formats.md names them.
[[nodiscard]] LORSA_API io::Json to_json(const EvalReport& report);

/// A table for the terminal: several reports side by side, one column each, metrics that one of
/// them lacks left empty; of one report the metrics' meaning behind them. Throws Error without
/// reports.
[[nodiscard]] LORSA_API std::string to_table(const std::vector<EvalReport>& reports);

}  // namespace lorsa::eval
