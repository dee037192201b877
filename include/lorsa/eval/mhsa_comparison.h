#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "lorsa/core/api.h"
#include "lorsa/kernels/mhsa.h"
#include "lorsa/model/dictionary.h"

namespace lorsa::eval {

/// How alike the attention patterns of a Lorsa's S QK heads and of the layer's N heads are, over
/// every scored query position that was added. All on the CPU, in double; NaN without any.
struct PatternReport {
  int64_t num_rows = 0;
  int64_t num_queries = 0;
  /// Mean KL(MHSA head's pattern || QK head's pattern), nats. What virtual keys take of a QK head's
  /// pattern counts as missing.
  at::Tensor divergence_NS;
  at::Tensor first_mass_N;    ///< mean pattern mass on the row's first token, MHSA heads
  at::Tensor first_mass_S;    ///< the same of the QK heads
  at::Tensor closest_qk_N;    ///< int64: the QK head of least divergence; the lower of equal ones
  at::Tensor closest_mhsa_S;  ///< int64: the MHSA head of least divergence
  double fidelity = 0.0;      ///< mean over MHSA heads of their closest QK head's divergence
};

/// Accumulates a PatternReport row by row. Memory of a row: about 6 N T^2 floats, and 5 S T^2 or,
/// QK heads taken in slices where patterns would pass 256 MiB, five times that.
class LORSA_API PatternMeter {
 public:
  /// Both are borrowed, of one device and dtype. Throws ConfigError for an SAE.
  PatternMeter(const model::Dictionary& dictionary, const kernels::Mhsa& layer);

  /// x [B, T, D]: cached inputs; scored [B, T] bool: the query positions that count. The first
  /// position never counts: there all patterns are the same.
  void add(const at::Tensor& x_BTD, const at::Tensor& scored_BT);
  [[nodiscard]] PatternReport report() const;

 private:
  void add_row(const at::Tensor& x_1TD, const at::Tensor& scored_T);

  const model::Dictionary& dictionary_;
  const kernels::Mhsa& layer_;
  int64_t num_rows_ = 0;
  int64_t num_queries_ = 0;
  at::Tensor divergence_NS_;
  at::Tensor first_mass_N_;
  at::Tensor first_mass_S_;
};

/// A head whose largest output share is below this is spread: its direction needs more than one
/// MHSA head.
inline constexpr double kOneHeadShare = 0.9;

/// How much of every Lorsa head's output direction lies in the output space of each MHSA head (the
/// span of W_O[n]'s rows): |projection|^2 / |direction|^2, [H, N] double on the CPU. The spaces are
/// not orthogonal, so shares of one head may sum to more than 1; a random direction has about A / D
/// in each. Rows of heads that write nothing are 0.
[[nodiscard]] LORSA_API at::Tensor output_shares(const model::Dictionary& dictionary,
                                                 const kernels::Mhsa& layer);

/// Over how many MHSA heads the heads of a Lorsa, or the features of an SAE, are spread.
struct SpreadReport {
  int64_t num_heads = 0;     ///< heads that act in the window and write something; of these:
  double head_spread = 0.0;  ///< share whose largest output share is below kOneHeadShare
  /// How many have their largest output share in [i, i+1) / kSpreadBins; the last bin also holds 1.
  std::vector<int64_t> histogram_counts;
};

inline constexpr int64_t kSpreadBins = 20;

/// share [H, N] as output_shares() gives it, acts [H] bool, both on the CPU. Without a head
/// head_spread is NaN.
[[nodiscard]] LORSA_API SpreadReport spread_of(const at::Tensor& share_HN,
                                               const at::Tensor& acts_H);

}  // namespace lorsa::eval
