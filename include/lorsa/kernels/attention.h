#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <vector>

#include "lorsa/core/api.h"
#include "lorsa/kernels/rope.h"
#include "lorsa/kernels/sparse.h"

namespace lorsa::kernels {

/// Output of the grouped attention call: z_PH [B*T, S*G] (head h = s*G + g) and the log-sum-exp of
/// every softmax row, lse_BST.
struct AttentionResult {
  at::Tensor z_PH;
  at::Tensor lse_BST;
  std::vector<at::Tensor> saved;  ///< what a device's own backward pass wants besides
};

/// Causal softmax attention of S heads: z[b,t,s,:] = sum_j softmax(q.k / attn_scale)_tj v[b,j,s,:].
///
/// Shapes  q, k [B, T, S, E]; v [B, T, S, G]; float32, float64 or bfloat16 (lse in float32; on the
/// CPU for checking: computed in float32, results rounded); last dimension contiguous, on a device
/// all of them. attn_scale is a divisor.
[[nodiscard]] LORSA_API AttentionResult attention_forward(const at::Tensor& q_BTSE,
                                                          const at::Tensor& k_BTSE,
                                                          const at::Tensor& v_BTSG,
                                                          double attn_scale);

/// Positions [begin, end) of the flattened batch.
struct PositionRun {
  int64_t begin = 0;
  int64_t end = 0;
};

/// Ascending runs of every QK head: those of head s are run[offset[s]] to run[offset[s + 1]].
struct PositionRuns {
  std::vector<int64_t> offset;
  std::vector<PositionRun> run;
};

/// Where gradients of attention can differ from 0 when few heads are kept. A query row has one
/// where a head that reads through it is kept; a key and a value up to the last such query of their
/// sequence.
struct GradientSupport {
  PositionRuns q, k;
  std::vector<int32_t> v_length_BH;  ///< first positions of every sequence and OV head
};

/// Where queries have a gradient, on a device: those of QK head s at the first count_S[s] positions
/// of row s of position_SP, which ascend; int32.
struct QueryRows {
  at::Tensor position_SP, count_S;
};

/// On the CPU grad_k and grad_v lie in memory as [S, E, B, T] and [S, G, B, T]: viewed as [P, H]
/// columns are contiguous, as the products of the weights' gradients want them.
struct AttentionGradients {
  at::Tensor grad_q_BTSE, grad_k_BTSE, grad_v_BTSG;
  std::optional<GradientSupport> support;  ///< absent: anywhere
  std::optional<QueryRows> q_rows;         ///< in bfloat16 on a device where they are few
};

enum class GradientsOf {
  kAll,
  kValues  ///< grad_q and grad_k stay undefined, their products are not computed
};

enum class Outside {
  kZero,
  kUnset  ///< not written, where a support is given: to write zeros that nobody reads takes time
};

struct AttentionBackwardOptions {
  GradientsOf gradients = GradientsOf::kAll;
  Outside outside = Outside::kZero;  ///< of the support
  /// With a table grad_q and grad_k are those of queries and keys before apply_rope_.
  RopeSpec rope = {};
  RopeTable rope_table = {};
};

/// Backward for a gradient of z that is non-zero only at kept heads: grad_PK at head_PK. Query rows
/// of a QK head without a kept head cost nothing and get gradient exactly 0.
[[nodiscard]] LORSA_API AttentionGradients
attention_backward(const at::Tensor& q_BTSE,
                   const at::Tensor& k_BTSE,
                   const at::Tensor& v_BTSG,
                   const AttentionResult& result,
                   const at::Tensor& grad_PK,
                   const at::Tensor& head_PK,
                   double attn_scale,
                   const AttentionBackwardOptions& options = {});

/// Backward for a gradient of z that may be non-zero anywhere, grad_z_PH in z's dtype: five
/// products per block, as attention_backward has three. Query rows of a QK head whose gradients are
/// all 0 cost nothing.
[[nodiscard]] LORSA_API AttentionGradients
attention_backward_dense(const at::Tensor& q_BTSE,
                         const at::Tensor& k_BTSE,
                         const at::Tensor& v_BTSG,
                         const AttentionResult& result,
                         const at::Tensor& grad_z_PH,
                         double attn_scale,
                         const AttentionBackwardOptions& options = {});

}  // namespace lorsa::kernels
