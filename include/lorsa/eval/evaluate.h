#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "lorsa/core/progress.h"
#include "lorsa/eval/interventions.h"
#include "lorsa/io/json.h"
#include "lorsa/metrics/reconstruction.h"
#include "lorsa/metrics/usage.h"

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

struct EvalOptions {
  std::filesystem::path checkpoint;
  std::filesystem::path cache;
  std::filesystem::path model;  ///< empty: no language model metrics
  std::string device = "auto";
  int64_t batch_sequences = 4;
  int64_t max_rows = 0;  ///< 0: all held-out rows
  int64_t threads = 0;
  Progress::Visible progress = Progress::Visible::kYes;
  InterventionOptions interventions;  ///< edits of heads; they need `model`
};

struct EvalReport {
  std::string checkpoint;
  std::string kind;  ///< "lorsa" or "sae"
  std::string model_name;
  int64_t layer = 0;
  int64_t top_k = 0;
  int64_t num_ov_heads = 0;
  int64_t num_rows = 0;
  metrics::ReconstructionReport reconstruction;
  metrics::UsageReport usage;
  std::optional<LanguageReport> language;
  std::optional<InterventionReport> interventions;
};

/// Judges a checkpoint on the held-out rows of a cache (design section 8).
///
/// Throws ConfigError naming both sides if checkpoint, cache and model do not belong together
/// (width, layer, weights), if the cache has no held-out rows, or if interventions cannot be
/// carried out. Honours StopSignal with Interrupted.
[[nodiscard]] EvalReport evaluate(const EvalOptions& options);

/// Keys as design section 8 names them.
[[nodiscard]] io::Json to_json(const EvalReport& report);

/// A table for the terminal.
[[nodiscard]] std::string to_table(const EvalReport& report);

/// Several checkpoints side by side, one column each; metrics that one of them lacks are left
/// empty. One report is to_table(). Throws Error without reports.
[[nodiscard]] std::string to_table(const std::vector<EvalReport>& reports);

}  // namespace lorsa::eval
