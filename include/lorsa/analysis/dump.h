#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "lorsa/core/progress.h"

namespace lorsa::analysis {

/// What `lorsa-dump` is asked for.
struct DumpOptions {
  std::filesystem::path checkpoint;
  std::filesystem::path cache;  ///< a folder layer-N
  std::filesystem::path model;  ///< Hugging Face folder: tokenizer, final norm, unembedding
  std::filesystem::path out;
  int64_t num_contexts = 16;      ///< kept a head
  int64_t window_tokens = 64;     ///< of a context; at most the cache's context length is used
  int64_t max_rows = 0;           ///< rows of the cache, spread evenly over it; 0: all
  int64_t num_logit_tokens = 10;  ///< at either end of the direct logit effect
  int64_t batch_rows = 8;
  std::string device = "auto";
  Progress::Visible progress = Progress::Visible::kYes;
};

/// What a finished dump came to.
struct DumpReport {
  std::filesystem::path out;
  std::filesystem::path explorer;  ///< the page to open
  int64_t num_heads = 0;
  int64_t num_firing_heads = 0;
  int64_t num_rows = 0;
  int64_t num_tokens = 0;
  int64_t num_scored_tokens = 0;
  int64_t num_contexts = 0;  ///< of all heads together
  double seconds = 0.0;
  double forward_seconds = 0.0;  ///< of them in Lorsa::reconstruct
};

/// Writes for each head of a Lorsa what it does on a cache's rows: how often and how strongly it
/// acts, where most strongly and from which source tokens, and what it writes to the logits; as
/// JSONL with an index and as a page to browse (docs/formats.md, "Head dump, format 1").
///
/// The Lorsa is brought to unit form first, so an activation is the length of the head's
/// contribution. One pass over the rows counts and keeps the strongest contexts, a second one over
/// the rows that hold such a context reads the z-patterns. Memory beside one batch: dump_bytes().
///
/// Everything is written into `<out>.tmp` and renamed at the end. An `out` that holds a dump is
/// replaced; anything else there is a ConfigError, and so is a checkpoint of another width, layer
/// or language model than the cache, or another language model in `model`. A stop signal (while a
/// StopSignal lives) throws Interrupted and leaves nothing behind.
[[nodiscard]] DumpReport dump_heads(const DumpOptions& options);

/// Upper bound of what a dump of `num_heads` heads keeps in memory: counts, histograms and
/// contexts. It does not grow with the number of rows.
[[nodiscard]] int64_t dump_bytes(const DumpOptions& options, int64_t num_heads);

/// A finished dump for people: a few aligned lines.
[[nodiscard]] std::string report_text(const DumpReport& report);

}  // namespace lorsa::analysis
