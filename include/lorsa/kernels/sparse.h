#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "lorsa/core/api.h"
#include "lorsa/kernels/types.h"

namespace lorsa::kernels {

/// The kept heads of every position. value_PK [P, K] in z's dtype, head_PK [P, K] int32, descending
/// score.
struct TopK {
  at::Tensor value_PK;
  at::Tensor head_PK;
  at::Tensor first_invalid = {};  ///< for check_scores(), with ScoreCheck::kLater on a device
};

/// When a score that is no number becomes an Error: before top_k_heads() returns, or, so that
/// nobody waits for a device, once check_scores() is called. On the CPU always at once.
enum class ScoreCheck { kNow, kLater };

/// Keeps the k best-scored heads of every position and returns their activations.
///
/// Shapes    z_PH [P, H] float32, float64 or bfloat16, last dimension contiguous; norm_H [H], the
///           norms of W_O's rows, same dtype (float32 for bfloat16 z).
/// Order     descending score; among equal scores the lower head wins, on every device. Always
///           exactly k heads; with kPositive heads of score 0 fill up, lowest first, with
///           activation 0.
/// Gradient  none recorded. An entry of kPositive with activation 0 counts as not kept.
/// Throws    ShapeError if shapes differ or k is outside [1, H]; a NaN in z (or a NaN score: an
///           infinite z against norm 0) is an Error naming position and head. With kLater rows
///           that have one keep k different heads all the same.
[[nodiscard]] LORSA_API TopK top_k_heads(const at::Tensor& z_PH,
                                         const at::Tensor& norm_H,
                                         int64_t k,
                                         Selection selection,
                                         ScoreCheck check = ScoreCheck::kNow);

/// Throws the Error of top_k_heads() if TopK::first_invalid tells of one: float64 [4], the position
/// (-1: all are numbers), the head, its z and its norm. Undefined: nothing to throw.
LORSA_API void check_scores(const at::Tensor& first_invalid);

/// y = sum_k value_PK W_O[head_PK] + b_D, [P, D]. Sums in the order of K. b_D may be undefined.
///
/// value_PK, W_O_HD and b_D float32 or float64, or value_PK and W_O_HD bfloat16 and b_D float32 (on
/// the CPU for checking: computed in float32 and rounded). Everything contiguous. Throws
/// ShapeError, on the CPU also for a head outside [0, H).
[[nodiscard]] LORSA_API at::Tensor sparse_decode(const TopK& kept,
                                                 const at::Tensor& W_O_HD,
                                                 const at::Tensor& b_D);

/// Result of the decode fused with the squared error.
struct DecodeLoss {
  /// d loss / d y = 2 * grad_scale * (y - t) at scored positions, 0 elsewhere; in W_O's dtype.
  at::Tensor grad_y_PD;
  /// d loss / d value: grad_y . W_O[head], [P, K] in W_O's dtype; exactly 0 at positions that are
  /// not scored and where kPositive kept an activation of 0.
  at::Tensor grad_value_PK;
  /// Sum over scored positions and D of (y - t)^2, float64 [] on W_O's device.
  at::Tensor squared_error;
};

/// Decodes, compares with target_PD [P, D] and gives the gradients of the output and of the kept
/// values while a position's rows of W_O are at hand.
///
/// scored_P [P] bool or uint8: positions that count. grad_scale multiplies the gradient of the
/// *sum* of squared errors (1 / (scored tokens * D) for a mean).
///
/// The same call gives the same bits, whatever the number of threads. On CUDA the last bits of
/// grad_value and squared_error also depend on whether W_O, target and grad_y lie at multiples of
/// 16 bytes, as whole tensors do: that decides how columns are dealt to threads.
[[nodiscard]] LORSA_API DecodeLoss sparse_decode_loss(const TopK& kept,
                                                      const at::Tensor& W_O_HD,
                                                      const at::Tensor& b_D,
                                                      const at::Tensor& target_PD,
                                                      const at::Tensor& scored_P,
                                                      double grad_scale,
                                                      Selection selection);

struct DecodeGradients {
  /// [num_heads, D]. Heads that no position kept: exactly 0. float32 where grad_y is bfloat16, as
  /// is grad_b_D.
  at::Tensor grad_W_O_HD;
  /// Column sums of grad_y.
  at::Tensor grad_b_D;
};

/// Backward of sparse_decode for what all positions share; sparse_decode_loss gives the gradient of
/// the values. W_O's is summed head by head over its positions in ascending order, in parts of at
/// most 1,024: no atomics, the same bits for every thread count. value_PK and grad_y_PD have one
/// dtype.
[[nodiscard]] LORSA_API DecodeGradients sparse_decode_backward(const TopK& kept,
                                                               const at::Tensor& grad_y_PD,
                                                               int64_t num_heads);

/// A gradient of kept entries spread over all heads: [P, num_heads], grad_PK at head_PK, 0
/// elsewhere. The heads of one position are distinct where the gradient is not 0.
[[nodiscard]] LORSA_API at::Tensor scatter_kept(const at::Tensor& grad_PK,
                                                const at::Tensor& head_PK,
                                                int64_t num_heads);

}  // namespace lorsa::kernels
