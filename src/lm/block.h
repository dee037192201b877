#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "lm/linear.h"
#include "lorsa/kernels/mhsa.h"
#include "lorsa/lm/language_model.h"

namespace lorsa::lm {

/// A norm's weights; an RMS norm has no bias.
struct Norm {
  at::Tensor gain, bias;

  /// x [.., D] normed as `spec` says. Where `site_input` is not null it receives what a site's
  /// input is: for an RMS norm the value before the gain.
  [[nodiscard]] at::Tensor operator()(const LayerSpec& spec,
                                      const at::Tensor& x,
                                      at::Tensor* site_input = nullptr) const;

  /// What the norm does to a direction d [n, D] added to its input, float32, without the division
  /// by the input's scale: gain d, and for a layer norm gain (d - mean d).
  [[nodiscard]] at::Tensor of_direction(const LayerSpec& spec,
                                        const at::Tensor& directions_nD) const;
};

/// The weights of one block. `gate` is of gated MLPs, q_gain and k_gain of specs with QK norm;
/// where the MLP is not loaded its norm and matrices are undefined.
struct BlockWeights {
  Norm attention_norm;
  Linear q, k, v, o;
  at::Tensor q_gain, k_gain;
  Norm mlp_norm;
  Linear gate, up, down;
};

/// Whether a site's input is wanted beside its output.
enum class TapInput { kYes, kNo };

/// An MLP before its last matrix: the site's input (undefined unless asked for) and the hidden
/// activations [B, T, M].
struct MlpStep {
  at::Tensor input_BTD;
  at::Tensor hidden_BTM;
};

/// One transformer block of any family, in the two pieces between which outputs can be taken or
/// replaced. Every attention goes through kernels::causal_attention.
class Block {
 public:
  Block(const ModelConfig& config, const LayerSpec& spec, BlockWeights weights);

  [[nodiscard]] const LayerSpec& spec() const { return spec_; }

  /// Attention of the residual; the input is undefined unless asked for.
  [[nodiscard]] SiteActivations attention(const at::Tensor& residual_BTD, TapInput tap) const;

  /// The MLP of the residual up to its last matrix.
  [[nodiscard]] MlpStep mlp(const at::Tensor& residual_BTD, TapInput tap) const;

  /// The MLP's output.
  [[nodiscard]] at::Tensor mlp_output(const at::Tensor& hidden_BTM) const;

  /// residual += mlp_output(hidden), in fewer passes.
  void add_mlp_(at::Tensor& residual_BTD, const at::Tensor& hidden_BTM) const;

  /// The attention as LanguageModel::attention() gives it.
  [[nodiscard]] kernels::Mhsa mhsa() const;

 private:
  LayerSpec spec_;
  BlockWeights weights_;
  int64_t N_, M_, A_, D_;  // query heads, key heads, their width, the model's width
};

}  // namespace lorsa::lm
