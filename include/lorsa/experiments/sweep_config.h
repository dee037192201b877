#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "lorsa/config/fields.h"
#include "lorsa/core/api.h"

namespace lorsa::experiments {

/// Configuration of `lorsa-sweep`: trainings over a grid of settings, measured alike.
///
/// A setting is `key=value` with a key of lorsa-train, or `cache:key=value` and `toy:key=value` for
/// the stages before it. An axis is `key=[v, ...]`; keys joined by `;` take their values together
/// ("zipped"), axes multiply.
struct SweepConfig {
  struct Sweep {
    std::string out;
    std::string title;
    std::string question;  ///< shown below the title
    std::string toy;       ///< lorsa-toy configuration; empty: no target model is trained
    std::string cache;     ///< lorsa-cache configuration; empty: the training's own data.cache
    std::string train;     ///< lorsa-train configuration
    std::vector<std::string> set;
    std::vector<std::string> axes;
    int64_t together = 8;  ///< runs trained on one stream of batches at most
    bool keep_checkpoints = false;
  } sweep;

  struct Measure {
    bool eval = true;
    std::string model;  ///< for language model metrics; empty: none, but a toy's own
    int64_t max_rows = 0;
    int64_t pattern_rows = 0;
    int64_t batch_sequences = 8;
    bool rules = false;      ///< RuleScores of a toy's planted rules
    bool stability = false;  ///< runs that differ in run.seed alone, pair by pair
    bool errors = false;     ///< every Lorsa's errors against those of the SAEs on its cache
  } measure;

  /// Plots of the page: "fvu against model.d_qk by model.kind", heat maps "fvu against model.d_qk
  /// and model.top_k by model.kind", fits as curves, log-log with a power law per series.
  struct Page {
    std::vector<std::string> columns;
    std::vector<std::string> curves;
    std::vector<std::string> heat_maps;
    std::vector<std::string> fits;
  } page;
};

LORSA_API void describe(config::Fields& fields, SweepConfig& config);

}  // namespace lorsa::experiments
