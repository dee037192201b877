#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "lorsa/core/api.h"
#include "lorsa/core/site.h"
#include "lorsa/kernels/mhsa.h"
#include "lorsa/lm/model_config.h"

namespace lorsa::lm {

/// Whether the weights behind the blocks are loaded: final norm and unembedding.
enum class Head {
  kLoad,
  kSkip  ///< nor is what no tap can see: see LoadOptions::last_component
};

struct LoadOptions {
  std::string dtype =
      "auto";  ///< compute dtype: auto (float32 on CPU, bfloat16 on CUDA), float32, bfloat16
  int64_t num_layers = std::numeric_limits<int64_t>::max();  ///< load only the first n blocks (no
                                                             ///< logits then unless all)
  Head head = Head::kLoad;
  /// With Head::kSkip: kAttention leaves out the MLP of the last loaded block.
  Component last_component = Component::kAttention;
};

/// What a site read and wrote, [B, T, D] each in the compute dtype.
struct SiteActivations {
  at::Tensor input_BTD;
  at::Tensor output_BTD;
};

/// What replaces the output of a site: `replace` is called with the site's input and output, [B, T,
/// D] in the compute dtype, and returns a tensor of the output's shape, in any dtype and on any
/// device.
struct Edit {
  Site site;
  std::function<at::Tensor(const at::Tensor& input_BTD, const at::Tensor& output_BTD)> replace;
};

/// A residual stream [B, T, D] before block `layer`.
struct Residual {
  at::Tensor residual_BTD;
  int64_t layer = 0;
};

/// How far a run goes.
enum class Until { kLastTap, kFinalNorm };

/// What a run leaves.
struct RunResult {
  std::vector<SiteActivations> taps;  ///< in the order of the sites asked for
  at::Tensor hidden_BTD;              ///< the final norm's output; undefined up to the last tap
};

/// A decoder-only language model from a Hugging Face folder (config.json, *.safetensors), inference
/// only.
///
/// On the CPU weights stored in the compute dtype, and the embeddings in any dtype, stay in the
/// file's mapping: the files must not be overwritten meanwhile. Other weights are converted one
/// tensor at a time, and the file's memory given back, so that loading takes one copy of what is
/// loaded. Every call is stateless (no KV cache) and runs without autograd. Calls
/// may come from several threads. Throws ConfigError for a layer or a context outside the model,
/// FormatError for a token id outside its vocabulary. tokens_BT are int32 or int64, on any device.
class LORSA_API LanguageModel {
 public:
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

  /// The one pass that all others are made of: from a residual through its block and those behind
  /// it, taking what the sites in `taps` (ascending) read and wrote and putting every edit's
  /// replacement in the place of its site's output. A tap of an edited site sees what the site
  /// itself wrote. `from` stays as it is. Throws ConfigError for sites that the run does not pass
  /// or that are edited twice, ShapeError for a replacement of another shape.
  [[nodiscard]] RunResult run(const Residual& from,
                              const std::vector<Site>& taps,
                              const std::vector<Edit>& edits = {},
                              Until until = Until::kFinalNorm) const;
  [[nodiscard]] RunResult run(const at::Tensor& tokens_BT,
                              const std::vector<Site>& taps,
                              const std::vector<Edit>& edits = {},
                              Until until = Until::kFinalNorm) const;

  /// The residual stream before block `layer`: lets one make several runs from there.
  [[nodiscard]] Residual residual_before(const at::Tensor& tokens_BT, int64_t layer) const;

  /// What `sites` (ascending) read and wrote, running only the blocks they need, on the CPU few
  /// sequences at a time.
  [[nodiscard]] std::vector<SiteActivations> activations(const at::Tensor& tokens_BT,
                                                         const std::vector<Site>& sites) const;

  /// The final norm's output [B, T, D] (before the unembedding), with edits.
  [[nodiscard]] at::Tensor final_hidden(const at::Tensor& tokens_BT,
                                        const std::vector<Edit>& edits = {}) const;
  [[nodiscard]] at::Tensor final_hidden(const Residual& from,
                                        const std::vector<Edit>& edits = {}) const;

  /// Logits [B, T, V] in float32. Memory B*T*V*4: evaluation takes final_hidden() and unembeds
  /// slices.
  [[nodiscard]] at::Tensor logits(const at::Tensor& tokens_BT,
                                  const std::vector<Edit>& edits = {}) const;

  /// Unembedding of the final norm's output h [.., D] -> logits [.., V], float32.
  [[nodiscard]] at::Tensor unembed(const at::Tensor& hidden) const;

  /// The direct effect of residual directions d [n, D] on the logits: (d * final norm gain)
  /// unembedded, [n, V], float32; the norm's scale is left out. Of a LayerNorm model the direction
  /// is centred first, as the norm does.
  [[nodiscard]] at::Tensor direct_logits(const at::Tensor& directions_nD) const;

  /// The layer's own attention with an RMS norm's gain folded in, so that kernels::mhsa_forward of
  /// the site's input is its output; float32 on the CPU.
  [[nodiscard]] kernels::Mhsa attention(int64_t layer) const;

 private:
  struct Impl;
  std::unique_ptr<const Impl> impl_;
};

}  // namespace lorsa::lm
