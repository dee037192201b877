#pragma once

#include <string>
#include <vector>

#include "lm/decoder.h"
#include "lm/layers.h"
#include "lorsa/io/json.h"

namespace lorsa::lm {

/// What Architecture::read_config does for the two.
void read_llama_config(const io::Json& json, const std::string& where, ModelConfig& config);
void read_qwen3_config(const io::Json& json, const std::string& where, ModelConfig& config);

/// LlamaForCausalLM: RMSNorm, grouped-query attention with rotary embedding, gated SiLU MLP.
/// Qwen3ForCausalLM: the same, with an RMS norm on every query and key head before the rotation.
class LlamaDecoder final : public Decoder {
 public:
  LlamaDecoder(const ModelConfig& config, const WeightFiles& weights, const Placement& placement);

  [[nodiscard]] AttentionStep attend(int64_t layer,
                                     const at::Tensor& residual_BTD,
                                     const kernels::RopeTable& rope,
                                     TapInput tap) const override;
  void finish_block(int64_t layer,
                    at::Tensor& residual_BTD,
                    const at::Tensor& attention_BTD) const override;
  [[nodiscard]] at::Tensor final_norm(const at::Tensor& residual_BTD) const override;
  [[nodiscard]] at::Tensor final_norm_direction(const at::Tensor& directions_nD) const override;
  [[nodiscard]] kernels::Mhsa attention(int64_t layer) const override;

 private:
  struct Block {
    at::Tensor attention_gain;
    Linear q, k, v, o;
    at::Tensor q_gain, k_gain;  // of Qwen3, else undefined
    at::Tensor mlp_gain;        // this and the rest: undefined where the MLP is not loaded
    Linear gate, up, down;
  };

  [[nodiscard]] Block load_block(const WeightLoader& load,
                                 int64_t layer,
                                 const Placement& placement) const;
  [[nodiscard]] const Block& block(int64_t layer) const;

  std::vector<Block> blocks_;
  at::Tensor final_gain_;
};

}  // namespace lorsa::lm
