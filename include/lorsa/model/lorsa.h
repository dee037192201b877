#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "lorsa/kernels/rope.h"
#include "lorsa/kernels/sparse.h"

namespace lorsa::model {

enum class Activation { kTopK, kTopKSigned };

/// Sizes and constants of a Lorsa (design section 2's letters).
struct LorsaShape {
  int64_t d_model = 0;       ///< D
  int64_t num_ov_heads = 0;  ///< H
  int64_t num_qk_heads = 0;  ///< S, divides H
  int64_t d_qk = 0;          ///< E
  int64_t top_k = 0;         ///< K
  Activation activation = Activation::kTopK;
  double attn_scale = 0.0;  ///< a divisor of q.k; 0: a Lorsa takes sqrt(E)
  bool qk_norm = false;
  double qk_norm_eps = 1e-6;
  kernels::RopeSpec rope;

  [[nodiscard]] int64_t group() const { return num_ov_heads / num_qk_heads; }
};

/// Throws ConfigError naming the two values that disagree.
void validate(const LorsaShape& shape);

/// The trainable tensors. W_Q and W_K are kept as rows [S*E, D] (row s*E+e is W_Q[s][:, e]), so
/// that a projection is one product.
struct LorsaWeights {
  at::Tensor W_Q, W_K;        ///< [S*E, D]
  at::Tensor b_Q, b_K;        ///< [S, E]
  at::Tensor W_V;             ///< [H, D]
  at::Tensor b_V;             ///< [H]
  at::Tensor W_O;             ///< [H, D]
  at::Tensor b_D;             ///< [D]
  at::Tensor q_norm, k_norm;  ///< [S, E], undefined without QK norm

  /// Name and tensor of everything defined, in a fixed order; names as in checkpoints.
  [[nodiscard]] std::vector<std::pair<std::string, at::Tensor*>> named();
  [[nodiscard]] std::vector<std::pair<std::string, const at::Tensor*>> named() const;
};

/// Shape of the weight `name` as LorsaWeights keeps it. Throws ShapeError for a name that a Lorsa
/// does not have.
[[nodiscard]] std::vector<int64_t> weight_shape(const LorsaShape& shape, const std::string& name);

/// What reconstructing a batch gives: output and the heads that act, P = B*T.
struct Reconstruction {
  at::Tensor y_BTD;
  kernels::TopK kept;
};

/// What a training step needs from one pass.
struct StepResult {
  double squared_error = 0.0;  ///< sum over scored positions and D
  int64_t num_scored = 0;
  LorsaWeights gradients;  ///< of loss = squared_error * grad_scale
  kernels::TopK kept;
};

/// One query whose z-pattern is asked for.
struct PatternQuery {
  int64_t row = 0;       ///< in [0, B)
  int64_t position = 0;  ///< in [0, T)
  int64_t head = 0;      ///< in [0, H)
};

/// A Lorsa: forward, hand-written backward and the reading of single heads (design section 3).
class Lorsa {
 public:
  Lorsa(LorsaShape shape, LorsaWeights weights);

  [[nodiscard]] const LorsaShape& shape() const { return shape_; }

  [[nodiscard]] const LorsaWeights& weights() const { return weights_; }

  [[nodiscard]] LorsaWeights& weights() { return weights_; }

  /// Output and kept heads of x [B, T, D] in the weights' dtype. `top_k` 0 takes the shape's.
  [[nodiscard]] Reconstruction reconstruct(const at::Tensor& x_BTD, int64_t top_k = 0) const;

  /// z of all heads, [P, H], before selection.
  [[nodiscard]] at::Tensor pre_activations(const at::Tensor& x_BTD) const;

  /// Forward, loss and gradients of every weight for target [B, T, D] and scored [B, T] bool.
  /// grad_scale multiplies the summed squared error: 1 / (scored tokens of the global batch * D)
  /// for the mean.
  [[nodiscard]] StepResult forward_backward(const at::Tensor& x_BTD,
                                            const at::Tensor& target_BTD,
                                            const at::Tensor& scored_BT,
                                            double grad_scale,
                                            int64_t top_k = 0) const;

  /// z-patterns z_ij = A_ij v_j, [queries, T]; 0 after the query's position. Sums over j to z_i.
  [[nodiscard]] at::Tensor z_patterns(const at::Tensor& x_BTD,
                                      const std::vector<PatternQuery>& queries) const;

  /// Norms of W_O's rows, [H].
  [[nodiscard]] at::Tensor output_norms() const;

  /// Multiplies W_Q, W_K, W_V by input_scale and divides W_O, b_D by target_scale: the folded model
  /// reads and writes raw activations.
  void fold(double input_scale, double target_scale);

  /// W_V, b_V times |W_O|; W_O over |W_O|: activations become the lengths of the heads'
  /// contributions.
  void to_unit_form();

 private:
  LorsaShape shape_;
  LorsaWeights weights_;
};

}  // namespace lorsa::model
