#pragma once

#include <ATen/core/Tensor.h>

#include <utility>

#include "lm/layers.h"
#include "lorsa/kernels/mhsa.h"
#include "lorsa/lm/language_model.h"

namespace lorsa::lm {

/// Whether attend() also returns the cached input.
enum class TapInput { kYes, kNo };

/// What one attention layer read and wrote: the input as the cache stores it (undefined unless
/// asked for) and the output before the residual add.
struct AttentionStep {
  at::Tensor input_BTD;
  at::Tensor output_BTD;
};

/// The blocks of one architecture (architectures.h lists them); LanguageModel owns the loop over
/// layers, the taps and the edits. Every attention() and attend() goes through
/// kernels::causal_attention.
///
/// A block is cut in two, so that the attention's output can be taken or replaced between: attend()
/// reads the residual, finish_block() adds the attention's output and the MLP (one after the other,
/// or both from the same residual where blocks are parallel).
class Decoder {
 public:
  virtual ~Decoder() = default;

  [[nodiscard]] const Vocabulary& vocabulary() const { return vocabulary_; }

  [[nodiscard]] virtual AttentionStep attend(int64_t layer,
                                             const at::Tensor& residual_BTD,
                                             const kernels::RopeTable& rope,
                                             TapInput tap) const = 0;
  /// residual becomes the residual after the block, in place.
  virtual void finish_block(int64_t layer,
                            at::Tensor& residual_BTD,
                            const at::Tensor& attention_BTD) const = 0;
  [[nodiscard]] virtual at::Tensor final_norm(const at::Tensor& residual_BTD) const = 0;
  /// What the final norm does to a direction d [n, D] added to its input, float32, without the
  /// division by the input's scale: gain d, and for a LayerNorm gain (d - mean d).
  [[nodiscard]] virtual at::Tensor final_norm_direction(const at::Tensor& directions_nD) const = 0;
  /// The layer's attention as LanguageModel::attention() gives it.
  [[nodiscard]] virtual kernels::Mhsa attention(int64_t layer) const = 0;

 protected:
  Decoder(const ModelConfig& config, Vocabulary vocabulary)
      : config_(config), vocabulary_(std::move(vocabulary)) {}

  ModelConfig config_;

 private:
  Vocabulary vocabulary_;
};

}  // namespace lorsa::lm
