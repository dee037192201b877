#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <iosfwd>
#include <optional>
#include <string>
#include <vector>

#include "lorsa/core/api.h"
#include "lorsa/kernels/sparse.h"

namespace lorsa::analysis {

/// The bins that activations of all heads are counted in: four an octave from 2^-16 to 2^16, so
/// that one pass suffices whatever the heads' sizes.
struct LORSA_API ActivationBins {
  static constexpr int kPerOctave = 4;
  static constexpr int kLowestExponent = -16;
  static constexpr int kCount = 32 * kPerOctave;

  /// Bin of an activation > 0; what lies outside counts in the first or last bin.
  [[nodiscard]] static int index(double activation);
  /// Lower edge of a bin.
  [[nodiscard]] static double edge(int bin);
};

/// How much a head acts. An activation is the size |a| of a kept entry that is not 0; only scored
/// tokens count.
struct HeadUsage {
  int64_t count = 0;  ///< scored tokens at which the head acts
  double sum = 0.0;   ///< of its activations
  double max = 0.0;
};

/// A source token and its share of z: the weights over all sources sum to z.
struct Source {
  int32_t position = 0;
  float weight = 0.0F;
};

/// A strong source outside the window, with a few tokens around it.
struct SourceSnippet {
  Source source;
  int32_t first = 0;  ///< position of tokens[0]
  std::vector<int32_t> tokens;
};

/// A place where a head acts, and the tokens around it. Positions count from the row's start.
struct HeadContext {
  std::string sample = "top";      ///< how it was chosen: "top", "quantile" or "non_firing"
  std::optional<float> quantile;   ///< with "quantile": the head's activations below, as a share
  uint64_t draw = 0;               ///< of a sample drawn by chance: the lowest are kept
  int64_t row = 0;                 ///< of the cache
  int32_t position = 0;            ///< of the peak: the row's scored token with the largest |a|
  float value = 0.0F;              ///< activation there, signed
  int32_t first = 0;               ///< position of the window's first token
  std::vector<float> activations;  ///< of the window's tokens, 0 where the head was not kept

  // What the row says beside activations, filled by fill_contexts():
  int64_t document = 0;  ///< first document of the row
  bool heldout = false;
  std::vector<int32_t> tokens;         ///< of the window
  int32_t next_token = -1;             ///< what follows the peak; -1 at the end of a row
  std::vector<Source> pattern;         ///< the weightiest sources, ascending position
  float pattern_rest = 0.0F;           ///< summed weight of the sources that are not listed
  std::vector<SourceSnippet> outside;  ///< weightiest first
};

/// First position of a window of `size` tokens of a row of `length` around `peak`: three quarters
/// lie before it where the row allows.
[[nodiscard]] LORSA_API int32_t window_start(int32_t peak, int64_t size, int64_t length);

/// Candidates that are kept of a head for each quantile context: with six no stratum is left empty
/// but one in a thousand (0.8^30 with five strata).
inline constexpr int64_t kCandidatesPerStratum = 6;

struct CollectorOptions {
  int64_t num_heads = 0;
  int64_t num_contexts = 16;
  int64_t window_tokens = 64;
  int64_t num_quantiles = 0;   ///< strata of a head's activations, a context of each
  int64_t num_non_firing = 0;  ///< windows in which the head does not act
  uint64_t seed = 0;           ///< of what is drawn
};

/// The first `capacity` contexts of every head in an order, of all that were offered.
class LORSA_API ContextHeaps {
 public:
  /// True if `a` comes before `b`: a total order of a head's contexts.
  using Before = bool (*)(const HeadContext& a, const HeadContext& b);

  ContextHeaps(int64_t num_heads, int64_t capacity, Before before);

  /// True if `context`, of which the order's fields are set, is among the first so far.
  [[nodiscard]] bool takes(int64_t head, const HeadContext& context) const;
  /// Keeps a context that takes() took, in place of the last where there are `capacity`.
  void put(int64_t head, HeadContext context);

  /// A head's contexts, in no order.
  [[nodiscard]] std::vector<HeadContext>& of_head(int64_t head) {
    return heaps_[static_cast<size_t>(head)];
  }

  [[nodiscard]] const std::vector<HeadContext>& of_head(int64_t head) const {
    return heaps_[static_cast<size_t>(head)];
  }

  /// Hands over a head's contexts, first one first.
  [[nodiscard]] std::vector<HeadContext> take_sorted(int64_t head);

 private:
  size_t capacity_;
  Before before_;
  std::vector<std::vector<HeadContext>> heaps_;
};

/// Counts every head's activations and keeps its contexts, batch by batch: the strongest, some of
/// the whole range (stratified by quantile) and windows in which it does not act.
///
/// The strongest: at most one a row, so that they differ; among equal activations the row that came
/// first, within a row the first position. What is drawn depends on the seed, row, position and
/// head alone: not on batches or on what else is kept. Quantile contexts are chosen at the end from
/// kCandidatesPerStratum candidates a stratum, a uniform sample of all the head's activations: see
/// choose_strata(). A non-firing context is drawn among the windows around a scored token in which
/// the head acts nowhere. Memory is bounded by the number of heads and contexts. One thread.
class LORSA_API HeadCollector {
 public:
  explicit HeadCollector(const CollectorOptions& options);

  /// Takes what a batch kept: kept [B*T, K], scored [B, T] bool, on any device; rows are the
  /// batch's row numbers.
  void add(const kernels::TopK& kept,
           const at::Tensor& scored_BT,
           const std::vector<int64_t>& rows);

  /// A context that its row has still to fill.
  struct Fresh {
    int64_t head;
    HeadContext* context;
  };

  /// The contexts kept since the last call, for as long as nothing is added.
  [[nodiscard]] std::vector<Fresh> take_fresh();

  [[nodiscard]] int64_t num_tokens() const { return num_tokens_; }

  [[nodiscard]] int64_t num_scored_tokens() const { return num_scored_tokens_; }

  [[nodiscard]] const HeadUsage& usage(int64_t head) const {
    return usage_[static_cast<size_t>(head)];
  }

  /// Scored activations by ActivationBins, kCount entries.
  [[nodiscard]] std::vector<int64_t> histogram(int64_t head) const;

  /// Share of the scored tokens at which the head acts.
  [[nodiscard]] double rate(int64_t head) const;

  /// Hands over a head's contexts; the collector keeps none. Strongest first, then quantile
  /// contexts from the highest down, then non-firing ones in the order of their draw.
  [[nodiscard]] std::vector<HeadContext> take_contexts(int64_t head);

  /// Writes all that was collected, in this machine's bytes. Every context must have been filled.
  void save(std::ostream& out) const;
  /// Takes up what a collector of the same options saved. Throws FormatError naming `where` if that
  /// is cut or not this.
  void load(std::istream& in, const std::string& where);

 private:
  struct Entry {
    int32_t position;
    float value;
  };

  // Room that a head keeps from row to row; more is given back.
  static constexpr size_t kKeptEntries = 16;

  /// A row of a batch.
  struct Row {
    int64_t number;
    int64_t T;
    const bool* scored_T;
  };

  void add_row(const int32_t* head_TK, const float* value_TK, int64_t K, const Row& row);
  void close_head(int64_t head, const Row& row);
  void draw_candidate(int64_t head, const Entry& entry, const Row& row);
  void draw_quiet_windows(const Row& row);
  void keep(ContextHeaps& heaps, int64_t head, HeadContext context, int32_t position, int64_t T);

  CollectorOptions options_;
  int64_t num_tokens_ = 0;
  int64_t num_scored_tokens_ = 0;
  std::vector<HeadUsage> usage_;
  std::vector<int64_t> histograms_;  // [H * kCount]
  ContextHeaps top_;
  ContextHeaps candidates_;
  ContextHeaps quiet_;
  std::vector<std::vector<Entry>> row_entries_;  // of the current row, by head
  std::vector<int32_t> row_heads_;               // heads with entries in the current row
  std::vector<int32_t> fresh_heads_;             // with contexts that are not filled
  std::vector<char> is_fresh_;                   // by head
};

/// One context of each of `num_strata` equally probable strata of a head's activations, from the
/// highest down, chosen among candidates that are a uniform sample of them; fewer where a stratum
/// has no candidate. Sets their quantile.
///
/// The quantile is the share of activations whose size is below the candidate's: those of lower
/// bins, counted, and of its own bin as many as the bin's candidates tell. It is exact if all
/// activations are candidates. histogram is that of the head, by ActivationBins.
[[nodiscard]] LORSA_API std::vector<HeadContext> choose_strata(
    std::vector<HeadContext> candidates, const std::vector<int64_t>& histogram, int64_t num_strata);

}  // namespace lorsa::analysis
