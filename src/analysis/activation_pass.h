#pragma once

#include <functional>

#include "analysis/delphi_export.h"
#include "analysis/dump_inputs.h"
#include "lorsa/analysis/head_contexts.h"

namespace lorsa::analysis {

/// What a pass over a dump's rows has come to.
struct PassState {
  HeadCollector collector;
  int64_t rows_done = 0;         ///< of DumpInputs::rows, whole batches
  double forward_seconds = 0.0;  ///< in the model
  /// What DelphiExport::sync() gave when this was saved; empty without export.
  std::vector<int64_t> exported = {};
};

/// Runs the rows behind `state.rows_done` through the Lorsa and collects what its heads do. Reading
/// the cache, the model and collecting each have a thread, with two batches between them at most.
///
/// With `delphi` all activations go there too. `after_batch` is called by the collecting thread
/// when `state` (and the export) are as they are to be behind a batch. On a stop signal the pass
/// ends behind the batches that are on their way and gives false; true at the end.
[[nodiscard]] bool run_activation_pass(const DumpInputs& in,
                                       PassState& state,
                                       DelphiExport* delphi,
                                       const std::function<void()>& after_batch);

}  // namespace lorsa::analysis
