#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "lorsa/analysis/head_contexts.h"
#include "lorsa/config/fields.h"
#include "lorsa/core/api.h"
#include "lorsa/core/progress.h"

namespace lorsa::analysis {

/// What `lorsa-dump` is asked for.
struct DumpOptions {
  std::filesystem::path checkpoint;
  std::filesystem::path cache;  ///< a folder layer-N
  std::filesystem::path model;  ///< Hugging Face folder: tokenizer, final norm, unembedding
  std::filesystem::path out;
  int64_t num_contexts = 16;      ///< strongest ones kept a head
  int64_t num_quantiles = 5;      ///< contexts drawn from as many strata of a head's activations
  int64_t num_non_firing = 2;     ///< windows drawn in which a head does not act
  int64_t seed = 0;               ///< of what is drawn
  int64_t window_tokens = 64;     ///< of a context; at most the cache's context length is used
  int64_t max_rows = 0;           ///< rows of the cache, spread evenly over it; 0: all
  int64_t num_logit_tokens = 10;  ///< at either end of the direct logit effect
  int64_t batch_rows = 8;
  bool families = false;  ///< score_families() first; records have the scores
  std::string device = "auto";
  /// Where all activations go too, in the layout of delphi's latent cache; empty: nowhere.
  std::filesystem::path delphi;
  int64_t num_delphi_splits = 5;
  double save_every_s = 600.0;  ///< of the pass: what a kill loses at most
  bool restart = false;         ///< discards what an interrupted dump has saved
  Progress::Visible progress = Progress::Visible::kYes;
};

LORSA_API void describe(config::Fields& fields, DumpOptions& options);

/// What a finished dump came to.
struct DumpReport {
  std::filesystem::path out;
  std::filesystem::path explorer;  ///< the page to open
  std::filesystem::path delphi;    ///< the exported module's folder; empty without export
  int64_t num_heads = 0;
  int64_t num_firing_heads = 0;
  int64_t num_rows = 0;
  int64_t num_tokens = 0;
  int64_t num_scored_tokens = 0;
  int64_t num_contexts = 0;      ///< of all heads together
  double seconds = 0.0;          ///< of this process
  double pass_seconds = 0.0;     ///< of them for the pass over the rows
  double forward_seconds = 0.0;  ///< in Lorsa::read, of all processes
  int64_t state_bytes = 0;       ///< dump_bytes()
  int64_t peak_bytes = 0;        ///< the most memory that the process has held so far
};

/// Writes for each head of a Lorsa what it does on a cache's rows: how often and how strongly it
/// acts, where and from which source tokens, and what it writes to the logits; as JSONL with an
/// index and as a page to browse (docs/formats.md, "Head dump, format 1").
///
/// The Lorsa is brought to unit form first, so an activation is the length of the head's
/// contribution. One pass over the rows does all: a context's z-pattern and tokens are taken when
/// the context is. Memory beside the batches on their way (three): dump_bytes().
///
/// Everything is written into `<out>.tmp` and renamed at the end. An `out` that holds a dump is
/// replaced; anything else there is a ConfigError, and so is a checkpoint of another width, layer
/// or language model than the cache, or another language model in `model`. A stop signal (while a
/// StopSignal lives) saves the pass and throws Interrupted. The next dump to `out` goes on from the
/// state saved last and writes the same bytes as one that was never disturbed; ConfigError if its
/// options, checkpoint or cache are others.
[[nodiscard]] LORSA_API DumpReport dump_heads(const DumpOptions& options);

/// Upper bound of what a dump keeps in memory: counts, histograms, contexts and the candidates for
/// quantile contexts. It does not grow with the number of rows.
[[nodiscard]] LORSA_API int64_t dump_bytes(const CollectorOptions& contexts);

/// A finished dump for people: a few aligned lines.
[[nodiscard]] LORSA_API std::string report_text(const DumpReport& report);

}  // namespace lorsa::analysis
