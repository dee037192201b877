#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "lorsa/kernels/mhsa.h"

namespace lorsa::lm {

/// An MLP's nonlinearity: gelu exactly or by its tanh approximation.
enum class Activation { kSilu, kGelu, kGeluTanh };

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
  double norm_eps = 1e-5;
  bool tied_embeddings = false;
  bool attention_bias = false;  ///< biases on q, k, v and o
  bool mlp_bias = false;
  bool qk_norm = false;            ///< RMS norm of every query and key head (Qwen3)
  bool parallel_residual = false;  ///< attention and MLP both read the block's input (GPT-NeoX)
  Activation activation = Activation::kSilu;
  kernels::RopeSpec rope;
};

/// Reads `folder`/config.json.
[[nodiscard]] ModelConfig read_model_config(const std::filesystem::path& folder);

/// Whether the weights behind the blocks are loaded: final norm and unembedding.
enum class Head {
  kLoad,
  kSkip  ///< nor is the MLP of the last loaded block: all that activations() needs
};

struct LoadOptions {
  std::string dtype =
      "auto";  ///< compute dtype: auto (float32 on CPU, bfloat16 on CUDA), float32, bfloat16
  int64_t num_layers = std::numeric_limits<int64_t>::max();  ///< load only the first n blocks (no
                                                             ///< logits then unless all)
  Head head = Head::kLoad;
};

/// What the taps see at one layer. `input` is the cached input (x/rms(x) before
/// the gain for RMSNorm models, the norm's output for LayerNorm models), `target` the attention's
/// output before the residual add; both [B, T, D] in the compute dtype.
struct LayerActivations {
  at::Tensor input_BTD;
  at::Tensor target_BTD;
};

/// A decoder-only language model from a Hugging Face folder (config.json, *.safetensors), inference
/// only.
///
/// On the CPU weights stored in the compute dtype, and the embeddings in any dtype, stay in the
/// file's mapping: the files must not be overwritten meanwhile. Other weights are converted one
/// tensor at a time, and the file's memory given back, so that loading takes one copy of what is
/// loaded. Every call is stateless (no KV cache) and runs without autograd. Calls
/// may come from several threads. Throws ConfigError for a layer or a context outside the model,
/// FormatError for a token id outside its vocabulary.
class LanguageModel {
 public:
  /// Called with (layer, input_BTD, attention output_BTD) of layers named in `edit_layers`; returns
  /// what replaces the output.
  using Edit = std::function<at::Tensor(int64_t, const at::Tensor&, const at::Tensor&)>;

  LanguageModel(const std::filesystem::path& folder,
                c10::Device device,
                const LoadOptions& options = {});
  ~LanguageModel();
  LanguageModel(LanguageModel&&) noexcept;
  LanguageModel& operator=(LanguageModel&&) noexcept;

  [[nodiscard]] const ModelConfig& config() const;
  [[nodiscard]] c10::Device device() const;
  [[nodiscard]] at::ScalarType compute_dtype() const;
  /// SHA-256 of the weight file, hex; of several files, that of the lines "<digest>  <name>" in
  /// name order (`sha256sum *.safetensors | sha256sum`). Computed at the first call: 1 s for 500
  /// MB.
  [[nodiscard]] const std::string& weights_sha256() const;

  /// Inputs and targets of `layers` (ascending), running only the blocks they need. tokens_BT int32
  /// or int64, on any device.
  [[nodiscard]] std::vector<LayerActivations> activations(const at::Tensor& tokens_BT,
                                                          const std::vector<int64_t>& layers) const;

  /// Logits [B, T, V] in float32. Memory B*T*V*4: evaluation takes final_hidden() and unembeds
  /// slices.
  [[nodiscard]] at::Tensor logits(const at::Tensor& tokens_BT) const;
  [[nodiscard]] at::Tensor logits(const at::Tensor& tokens_BT,
                                  const std::vector<int64_t>& edit_layers,
                                  const Edit& edit) const;

  /// The final norm's output [B, T, D] (before the unembedding), with an edit.
  [[nodiscard]] at::Tensor final_hidden(const at::Tensor& tokens_BT,
                                        const std::vector<int64_t>& edit_layers,
                                        const Edit& edit) const;

  /// Residual stream before block `first_layer`, and a run from there to the final norm: lets one
  /// evaluate several edits of layer `first_layer` without repeating the blocks below it.
  [[nodiscard]] at::Tensor residual_before(const at::Tensor& tokens_BT, int64_t first_layer) const;
  [[nodiscard]] at::Tensor final_hidden_from(const at::Tensor& residual_BTD,
                                             int64_t first_layer,
                                             const std::vector<int64_t>& edit_layers,
                                             const Edit& edit) const;

  /// Unembedding of the final norm's output h [.., D] -> logits [.., V], float32.
  [[nodiscard]] at::Tensor unembed(const at::Tensor& hidden) const;

  /// The direct effect of residual directions d [n, D] on the logits: (d * final norm gain)
  /// unembedded, [n, V], float32; the norm's scale is left out. Of a LayerNorm
  /// model the direction is centred first, as the norm does.
  [[nodiscard]] at::Tensor direct_logits(const at::Tensor& directions_nD) const;

  /// The layer's own attention with an RMS norm's gain folded in, so that kernels::mhsa_forward of
  /// the cached input is the cached target; float32 on the CPU.
  [[nodiscard]] kernels::Mhsa attention(int64_t layer) const;

 private:
  struct Impl;
  std::unique_ptr<const Impl> impl_;
};

}  // namespace lorsa::lm
