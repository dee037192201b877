#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "lorsa/kernels/sparse.h"

namespace lorsa::analysis {

/// The bins that activations of all heads are counted in: four an octave from 2^-16 to 2^16, so
/// that one pass suffices whatever the heads' sizes.
struct ActivationBins {
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

/// A source token and its share of z (design section 3): the weights over all sources sum to z.
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
  int64_t row = 0;                 ///< of the cache
  int32_t position = 0;            ///< of the peak: the row's scored token with the largest |a|
  float value = 0.0F;              ///< activation there, signed
  int32_t first = 0;               ///< position of the window's first token
  std::vector<float> activations;  ///< of the window's tokens, 0 where the head was not kept

  // From the second pass:
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
[[nodiscard]] int32_t window_start(int32_t peak, int64_t size, int64_t length);

struct CollectorOptions {
  int64_t num_heads = 0;
  int64_t num_contexts = 16;
  int64_t window_tokens = 64;
};

/// Counts every head's activations and keeps its strongest contexts, batch by batch.
///
/// A head has at most one context a row, so that its contexts differ. Among equal activations the
/// row that came first wins, within a row the first position. Memory is bounded by num_heads *
/// num_contexts windows. One thread.
class HeadCollector {
 public:
  explicit HeadCollector(const CollectorOptions& options);

  /// Takes what a batch kept: kept [B*T, K], scored [B, T] bool, on any device; rows are the
  /// batch's row numbers.
  void add(const kernels::TopK& kept,
           const at::Tensor& scored_BT,
           const std::vector<int64_t>& rows);

  [[nodiscard]] int64_t num_tokens() const { return num_tokens_; }

  [[nodiscard]] int64_t num_scored_tokens() const { return num_scored_tokens_; }

  [[nodiscard]] const HeadUsage& usage(int64_t head) const {
    return usage_[static_cast<size_t>(head)];
  }

  /// Scored activations by ActivationBins, kCount entries.
  [[nodiscard]] std::vector<int64_t> histogram(int64_t head) const;

  /// Share of the scored tokens at which the head acts.
  [[nodiscard]] double rate(int64_t head) const;

  /// Hands over the contexts of every head, strongest first; the collector keeps none.
  [[nodiscard]] std::vector<std::vector<HeadContext>> take_contexts();

 private:
  struct Entry {
    int32_t position;
    float value;
  };

  void add_row(const int32_t* head_TK,
               const float* value_TK,
               const bool* scored_T,
               int64_t T,
               int64_t K,
               int64_t row);
  void close_head(int64_t head, const bool* scored_T, int64_t T, int64_t row);
  void keep_context(int64_t head, const Entry& peak, int64_t T, int64_t row);

  CollectorOptions options_;
  int64_t num_tokens_ = 0;
  int64_t num_scored_tokens_ = 0;
  std::vector<HeadUsage> usage_;
  std::vector<int64_t> histograms_;                 // [H * kCount]
  std::vector<std::vector<HeadContext>> contexts_;  // min-heaps by strength
  std::vector<std::vector<Entry>> row_entries_;     // of the current row, by head
  std::vector<int32_t> row_heads_;                  // heads with entries in the current row
};

}  // namespace lorsa::analysis
