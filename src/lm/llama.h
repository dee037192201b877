#pragma once

#include <string>
#include <vector>

#include "lm/decoder.h"

namespace lorsa::lm {

/// LlamaForCausalLM: RMSNorm, grouped-query attention with rotary embedding, gated SiLU MLP.
class LlamaDecoder final : public Decoder {
 public:
  LlamaDecoder(const ModelConfig& config, const WeightFiles& weights, const Placement& placement);

  [[nodiscard]] at::Tensor embed(const at::Tensor& tokens_BT) const override;
  [[nodiscard]] AttentionStep attend(int64_t layer,
                                     const at::Tensor& residual_BTD,
                                     const kernels::RopeTable& rope,
                                     TapInput tap) const override;
  void finish_block(int64_t layer,
                    at::Tensor& residual_BTD,
                    const at::Tensor& attention_BTD) const override;
  [[nodiscard]] at::Tensor final_norm(const at::Tensor& residual_BTD) const override;
  [[nodiscard]] const at::Tensor& final_gain() const override;
  [[nodiscard]] const at::Tensor& unembedding() const override;
  [[nodiscard]] kernels::Mhsa attention(int64_t layer) const override;

 private:
  /// y = x weight^T + bias; the bias may be undefined.
  struct Linear {
    at::Tensor weight;
    at::Tensor bias;
  };

  struct Block {
    at::Tensor attention_gain, mlp_gain;
    Linear q, k, v, o;
    Linear gate, up, down;
  };

  [[nodiscard]] const Block& block(int64_t layer) const;

  ModelConfig config_;
  at::Tensor embedding_;
  std::vector<Block> blocks_;
  at::Tensor final_gain_;
  at::Tensor unembedding_;
};

}  // namespace lorsa::lm
