#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "lorsa/core/api.h"
#include "lorsa/kernels/rope.h"

namespace lorsa::lm {

/// kRms: x / rms(x) * gain (Zhang and Sennrich 2019). kLayer: centred, with a bias (Ba et al.
/// 2016).
enum class NormKind { kRms, kLayer };

/// An MLP's nonlinearity: gelu exactly or by its tanh approximation.
enum class Activation { kSilu, kGelu, kGeluTanh };

/// What one block computes, whatever family it is of:
///
///   a = attention(norm(x)),  x' = x + a,  m = mlp(norm(x')) or, where parallel, mlp(norm(x)),
///   x'' = x' + m;
///   mlp(h) = down(act(up(h))) or, where gated, down(act(gate(h)) * up(h)).
struct LayerSpec {
  NormKind norm = NormKind::kRms;
  double norm_eps = 1e-5;
  bool qkv_bias = false;
  bool o_bias = false;
  bool qk_norm = false;     ///< an RMS norm of every query and key head, before the rotation
  double attn_scale = 0.0;  ///< a divisor of q.k
  kernels::RopeSpec rope;
  bool parallel_residual = false;  ///< attention and MLP both read the block's input
  Activation activation = Activation::kSilu;
  bool gated = true;
  bool mlp_bias = false;
};

/// How a site's input is taken: "rms_normalized" (before the gain) or "layer_norm_output".
[[nodiscard]] LORSA_API std::string input_convention(const LayerSpec& spec);

/// What config.json says, checked: an unknown architecture, rope type or activation and quantised
/// weights are a FormatError that names them.
struct ModelConfig {
  std::string architecture;  ///< "LlamaForCausalLM", "Qwen3ForCausalLM" or "GPTNeoXForCausalLM"
  std::string name;          ///< folder name or _name_or_path
  int64_t vocabulary_size = 0;
  int64_t d_model = 0;
  int64_t num_layers = 0;
  int64_t num_heads = 0;
  int64_t num_kv_heads = 0;
  int64_t head_width = 0;
  int64_t d_mlp = 0;
  int64_t max_positions = 0;
  bool tied_embeddings = false;
  std::vector<LayerSpec> layers;  ///< num_layers of them; the final norm is of the last one's kind
};

/// Reads `folder`/config.json.
[[nodiscard]] LORSA_API ModelConfig read_model_config(const std::filesystem::path& folder);

}  // namespace lorsa::lm
