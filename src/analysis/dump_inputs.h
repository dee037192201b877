#pragma once

#include <map>
#include <string>
#include <vector>

#include "lorsa/analysis/head_contexts.h"
#include "lorsa/core/progress.h"
#include "lorsa/study/study.h"

namespace lorsa::analysis {

/// How a dump goes over rows.
struct RowsOfDump {
  int64_t max_rows = 0;  ///< spread over the cache; 0: all
  int64_t batch_rows = 8;
  Progress::Visible progress = Progress::Visible::kYes;
};

/// What a dump reads.
struct DumpInputs {
  /// Of a study with one member and its cache and model. Throws ConfigError for contexts that no
  /// memory holds.
  DumpInputs(study::Study all, CollectorOptions contexts, const RowsOfDump& wanted);

  study::Study study;
  model::Dictionary dictionary;  ///< the member in unit form
  CollectorOptions collector;    ///< with the member's number of heads
  std::vector<int64_t> rows;     ///< to dump, ascending
  int64_t batch_rows = 0;
  Progress::Visible progress;

  [[nodiscard]] const data::Manifest& manifest() const { return study.cache().manifest(); }
};

}  // namespace lorsa::analysis
