#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <vector>

#include "lorsa/collect/extract_config.h"
#include "lorsa/core/api.h"
#include "lorsa/core/launch.h"
#include "lorsa/core/progress.h"

namespace lorsa::collect {

struct ExtractOptions {
  Progress::Visible progress = Progress::Visible::kYes;
  /// Called on the calling thread with the rows handed to the writers so far, once per batch. What
  /// it throws ends the extraction as a kill would: only finished shards stay.
  std::function<void(int64_t)> on_rows;
  LaunchRank rank;
};

/// What an extraction did.
struct ExtractReport {
  std::vector<std::filesystem::path> folders;  ///< one per site, ascending
  int64_t num_rows = 0;                        ///< of every folder
  int64_t num_heldout_rows = 0;
  int64_t num_tokens = 0;
  int64_t rows_before = 0;        ///< of num_rows, found in finished shards
  LaunchRank rank;                ///< counts above are known to rank 0; others know num_rows
  bool already_complete = false;  ///< nothing was left to do
  bool corpus_ended = false;      ///< before max_tokens were reached
  double seconds = 0.0;           ///< of reading, model and writing
  double write_wait_s = 0.0;      ///< of them, what the model waited for writing
};

/// Writes the activation caches of all sites in one pass over the corpus: <out.path>/layer-N/ for
/// attention, <out.path>/layer-N-mlp/ for MLPs.
///
/// Tokenising, the model and writing overlap. The rows and their order depend on the configuration
/// alone, so an extraction that was ended in any way is continued by the same call: rows of
/// finished shards are not computed again, and the result is the one of an undisturbed run. The
/// layers already complete are left alone.
///
/// Several processes of one job (launch_rank()) share the folders: shard i is written by rank i %
/// world size, and rank 0 completes the manifest once all are there. Each rank reads the corpus.
///
/// Throws ConfigError for settings that do not fit the model, and for a cache made under another
/// configuration, corpus or model, naming what differs; IoError if the disk cannot hold the result
/// (checked before anything is written) or another extraction writes there; DeviceError if another
/// rank ended or made no headway for run.rank_timeout_s; FormatError for a corpus or model that
/// cannot be used; Interrupted if a StopSignal of the caller was raised, after the batch in work.
LORSA_API ExtractReport extract(const ExtractConfig& config, const ExtractOptions& options = {});

/// What extract() would do, measured on one batch.
struct ExtractPlan {
  int64_t num_sites = 0;
  int64_t num_rows = 0;             ///< of every site
  int64_t num_tokens = 0;           ///< in them
  int64_t rows_done = 0;            ///< of num_rows, in finished shards of all layers
  bool corpus_ends_first = false;   ///< before max_tokens are reached
  bool rows_are_estimated = false;  ///< from the beginning of a long corpus; else counted
  int64_t bytes_per_site = 0;
  int64_t needed_bytes = 0;   ///< still to be written, all layers
  int64_t free_bytes = 0;     ///< where out.path lies
  double tokens_per_s = 0.0;  ///< of the model, measured
  double seconds = 0.0;       ///< estimate for the rows that are left

  [[nodiscard]] bool fits() const { return needed_bytes <= free_bytes; }
};

/// Measures and adds up; writes nothing. Throws as extract() does, a full disk excepted.
[[nodiscard]] LORSA_API ExtractPlan plan_extraction(const ExtractConfig& config);

}  // namespace lorsa::collect
