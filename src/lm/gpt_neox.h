#pragma once

#include <string>
#include <vector>

#include "lm/decoder.h"
#include "lm/layers.h"
#include "lorsa/io/json.h"

namespace lorsa::lm {

/// What Architecture::read_config does for GPTNeoXForCausalLM.
void read_gpt_neox_config(const io::Json& json, const std::string& where, ModelConfig& config);

/// GPTNeoXForCausalLM (Pythia): LayerNorm, attention with partial rotary embedding, GELU MLP; both
/// read the block's input (parallel) or one after the other.
class GptNeoxDecoder final : public Decoder {
 public:
  GptNeoxDecoder(const ModelConfig& config, const WeightFiles& weights, const Placement& placement);

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
  struct Norm {
    at::Tensor gain, bias;
  };

  struct Block {
    Norm attention_norm;
    Linear qkv;  // rows head by head: a head's A of Q, then its A of K, then its A of V
    Linear out;
    Norm mlp_norm;  // this and the rest: undefined where the MLP is not loaded
    Linear mlp_in, mlp_out;
  };

  [[nodiscard]] static Norm load_norm(const WeightLoader& load,
                                      const std::string& name,
                                      int64_t width);
  [[nodiscard]] Block load_block(const WeightLoader& load,
                                 int64_t layer,
                                 const Placement& placement) const;
  [[nodiscard]] at::Tensor apply(const Norm& norm, const at::Tensor& x) const;
  [[nodiscard]] const Block& block(int64_t layer) const;

  std::vector<Block> blocks_;
  Norm final_norm_;
};

}  // namespace lorsa::lm
