#include "lorsa/lm/language_model.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>
#include <openssl/sha.h>

#include <algorithm>
#include <array>
#include <mutex>

#include "lm/architectures.h"
#include "lorsa/core/error.h"
#include "lorsa/io/checksum.h"

namespace lorsa::lm {
namespace {

at::ScalarType compute_dtype_of(const std::string& name, c10::Device device) {
  if (name == "auto") {
    return device.is_cpu() ? at::kFloat : at::kBFloat16;
  }
  LORSA_CHECK(name == "float32" || name == "bfloat16", ConfigError,
              "model dtype \"{}\": expected auto, float32 or bfloat16", name);
  return name == "float32" ? at::kFloat : at::kBFloat16;
}

std::string hex_of(const unsigned char* bytes, size_t size) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string hex;
  for (size_t i = 0; i < size; ++i) {
    hex += kDigits[bytes[i] >> 4U];
    hex += kDigits[bytes[i] & 15U];
  }
  return hex;
}

std::string digest_of(const std::vector<std::filesystem::path>& paths) {
  if (paths.size() == 1) {
    return io::file_sha256(paths.front());
  }
  std::string lines;
  for (const std::filesystem::path& path : paths) {
    lines += formatted("{}  {}\n", io::file_sha256(path), path.filename());
  }
  std::array<unsigned char, SHA256_DIGEST_LENGTH> digest{};
  // The char types may alias; OpenSSL wants unsigned bytes.
  SHA256(reinterpret_cast<const unsigned char*>(lines.data()), lines.size(), digest.data());
  return hex_of(digest.data(), digest.size());
}

/// Sequences of one forward pass: on CUDA all, on the CPU as many as bound the memory (SmolLM2: 40
/// MB). Passes of 512 tokens keep activations in the cache but pack the weights and meet at
/// barriers four times as often: with 2 busy cores they took 1.2 times the processor time of 2048
/// (Xeon with AVX-512, November 2026).
int64_t rows_per_pass(c10::Device device, int64_t num_positions) {
  constexpr int64_t kTokens = 2048;
  return device.is_cpu() ? std::max<int64_t>(1, kTokens / num_positions)
                         : std::numeric_limits<int64_t>::max();
}

const std::vector<int64_t> kNoEdits;

}  // namespace

struct LanguageModel::Impl {
  ModelConfig config;
  c10::Device device;
  at::ScalarType dtype;
  int64_t loaded_layers = 0;
  Head head;
  std::vector<std::filesystem::path> weight_paths;
  std::unique_ptr<const Decoder> decoder;
  mutable std::once_flag digest_once;
  mutable std::string digest;

  Impl(const std::filesystem::path& folder, c10::Device target, const LoadOptions& options)
      : config(read_model_config(folder)),
        device(target),
        dtype(compute_dtype_of(options.dtype, target)),
        loaded_layers(std::min(options.num_layers, config.num_layers)),
        head(options.head) {
    LORSA_CHECK(loaded_layers >= 0, ConfigError, "model: {} layers were asked for", loaded_layers);
    const c10::NoGradGuard no_grad;
    const WeightFiles weights(folder);
    weight_paths = weights.paths();
    decoder = architecture_named(config.architecture, folder.string())
                  .make_decoder(config, weights, {device, dtype, loaded_layers, head});
  }

  void check_layer(int64_t layer) const {
    LORSA_CHECK(layer >= 0 && layer < loaded_layers, ConfigError,
                "model {}: layer {} is outside the {} layers that {}", config.name, layer,
                loaded_layers, loaded_layers == config.num_layers ? "it has" : "were loaded");
  }

  void check_context(int64_t num_positions) const {
    LORSA_CHECK(num_positions >= 1 && num_positions <= config.max_positions, ConfigError,
                "model {}: a context of {} positions, expected 1 to {} (max_position_embeddings)",
                config.name, num_positions, config.max_positions);
  }

  void check_tokens(const at::Tensor& tokens_BT) const {
    LORSA_CHECK(tokens_BT.dim() == 2 &&
                    (tokens_BT.scalar_type() == at::kInt || tokens_BT.scalar_type() == at::kLong),
                ShapeError, "model {}: expected tokens [B, T] of int32 or int64, found {} {}",
                config.name, tokens_BT.sizes(), tokens_BT.scalar_type());
    check_context(tokens_BT.size(1));
    if (tokens_BT.numel() == 0) {
      return;
    }
    const auto lowest = tokens_BT.min().item<int64_t>();
    const auto highest = tokens_BT.max().item<int64_t>();
    if (lowest < 0 || highest >= config.vocabulary_size) {
      const int64_t wrong = lowest < 0 ? lowest : highest;
      const at::Tensor place = (tokens_BT == wrong).nonzero().cpu();
      throw FormatError(
          formatted("model {}: token id {} at row {}, position {} is outside the vocabulary of {}: "
                    "was the text split by another model's tokenizer?",
                    config.name, wrong, place[0][0].item<int64_t>(), place[0][1].item<int64_t>(),
                    config.vocabulary_size));
    }
  }

  void check_head(const char* what) const {
    LORSA_CHECK(head == Head::kLoad, ConfigError,
                "model {}: {} needs final norm and unembedding, which were not loaded", config.name,
                what);
  }

  void check_complete(const char* what) const {
    check_head(what);
    LORSA_CHECK(loaded_layers == config.num_layers, ConfigError,
                "model {}: {} needs all {} layers, {} were loaded", config.name, what,
                config.num_layers, loaded_layers);
  }

  [[nodiscard]] at::Tensor embed(const at::Tensor& tokens_BT) const {
    check_tokens(tokens_BT);
    return decoder->vocabulary().embed(tokens_BT.to(device));
  }

  // Angles in float32 for every compute dtype: bfloat16 has no room for positions in the thousands.
  [[nodiscard]] kernels::RopeTable rope_for(const at::Tensor& residual_BTD) const {
    return kernels::rope_table(config.rope, residual_BTD.size(1), at::kFloat, device);
  }

  /// Runs blocks first .. last-1 on `residual_BTD`, in place.
  void run_blocks(at::Tensor& residual_BTD, int64_t first, int64_t last) const {
    run_blocks(residual_BTD, first, last, kNoEdits, nullptr);
  }

  void run_blocks(at::Tensor& residual_BTD,
                  int64_t first,
                  int64_t last,
                  const std::vector<int64_t>& edit_layers,
                  const Edit& edit) const {
    for (const int64_t layer : edit_layers) {
      check_layer(layer);
      LORSA_CHECK(layer >= first && layer < last && edit != nullptr, ConfigError,
                  "model {}: layer {} is to be edited, but {}", config.name, layer,
                  edit == nullptr ? "no edit is given" : "this run does not pass it");
    }
    const kernels::RopeTable rope = rope_for(residual_BTD);
    for (int64_t layer = first; layer < last; ++layer) {
      const bool edited =
          std::find(edit_layers.begin(), edit_layers.end(), layer) != edit_layers.end();
      AttentionStep step =
          decoder->attend(layer, residual_BTD, rope, edited ? TapInput::kYes : TapInput::kNo);
      if (edited) {
        const at::Tensor replaced = edit(layer, step.input_BTD, step.output_BTD);
        LORSA_CHECK(replaced.sizes() == step.output_BTD.sizes(), ShapeError,
                    "model {}: the edit of layer {} returned {}, expected {}", config.name, layer,
                    replaced.sizes(), step.output_BTD.sizes());
        step.output_BTD = replaced.to(device, dtype);
      }
      decoder->finish_block(layer, residual_BTD, step.output_BTD);
    }
  }

  /// Puts a pass's rows where they belong; those of the only pass are taken as they are.
  static void keep(const AttentionStep& step, int64_t begin, LayerActivations& result) {
    if (!result.input_BTD.defined()) {
      result = {step.input_BTD, step.output_BTD};
      return;
    }
    result.input_BTD.narrow(0, begin, step.input_BTD.size(0)).copy_(step.input_BTD);
    result.target_BTD.narrow(0, begin, step.output_BTD.size(0)).copy_(step.output_BTD);
  }

  /// Activations of a few sequences, into rows [begin, begin + B) of `result`.
  void fill_activations(const at::Tensor& tokens_BT,
                        const std::vector<int64_t>& layers,
                        int64_t begin,
                        std::vector<LayerActivations>& result) const {
    at::Tensor residual_BTD = decoder->vocabulary().embed(tokens_BT);
    const kernels::RopeTable rope = rope_for(residual_BTD);
    size_t next = 0;
    for (int64_t layer = 0; next < layers.size(); ++layer) {
      const bool wanted = layers[next] == layer;
      const AttentionStep step =
          decoder->attend(layer, residual_BTD, rope, wanted ? TapInput::kYes : TapInput::kNo);
      if (wanted) {
        keep(step, begin, result[next]);
        ++next;
      }
      if (next < layers.size()) {
        decoder->finish_block(layer, residual_BTD, step.output_BTD);
      }
    }
  }
};

LanguageModel::LanguageModel(const std::filesystem::path& folder,
                             c10::Device device,
                             const LoadOptions& options)
    : impl_(std::make_unique<const Impl>(folder, device, options)) {}

LanguageModel::~LanguageModel() = default;
LanguageModel::LanguageModel(LanguageModel&&) noexcept = default;
LanguageModel& LanguageModel::operator=(LanguageModel&&) noexcept = default;

const ModelConfig& LanguageModel::config() const {
  return impl_->config;
}

c10::Device LanguageModel::device() const {
  return impl_->device;
}

at::ScalarType LanguageModel::compute_dtype() const {
  return impl_->dtype;
}

const std::string& LanguageModel::weights_sha256() const {
  std::call_once(impl_->digest_once, [&] { impl_->digest = digest_of(impl_->weight_paths); });
  return impl_->digest;
}

std::vector<LayerActivations> LanguageModel::activations(const at::Tensor& tokens_BT,
                                                         const std::vector<int64_t>& layers) const {
  const c10::NoGradGuard no_grad;
  impl_->check_tokens(tokens_BT);
  for (size_t i = 0; i < layers.size(); ++i) {
    impl_->check_layer(layers[i]);
    LORSA_CHECK(i == 0 || layers[i] > layers[i - 1], ConfigError,
                "activations: layers must ascend, found {} after {}", layers[i], layers[i - 1]);
  }
  const int64_t B = tokens_BT.size(0);
  const int64_t T = tokens_BT.size(1);
  std::vector<LayerActivations> result(layers.size());
  if (layers.empty()) {
    return result;
  }
  const at::Tensor tokens = tokens_BT.to(impl_->device);
  const int64_t rows = rows_per_pass(impl_->device, T);
  if (B > rows || B == 0) {
    const at::TensorOptions options = at::TensorOptions().dtype(impl_->dtype).device(impl_->device);
    for (LayerActivations& layer : result) {
      layer.input_BTD = at::empty({B, T, impl_->config.d_model}, options);
      layer.target_BTD = at::empty({B, T, impl_->config.d_model}, options);
    }
  }
  for (int64_t begin = 0; begin < B; begin += rows) {
    const int64_t size = std::min(rows, B - begin);
    impl_->fill_activations(tokens.narrow(0, begin, size), layers, begin, result);
  }
  return result;
}

at::Tensor LanguageModel::logits(const at::Tensor& tokens_BT) const {
  return logits(tokens_BT, kNoEdits, nullptr);
}

at::Tensor LanguageModel::logits(const at::Tensor& tokens_BT,
                                 const std::vector<int64_t>& edit_layers,
                                 const Edit& edit) const {
  return unembed(final_hidden(tokens_BT, edit_layers, edit));
}

at::Tensor LanguageModel::final_hidden(const at::Tensor& tokens_BT,
                                       const std::vector<int64_t>& edit_layers,
                                       const Edit& edit) const {
  const c10::NoGradGuard no_grad;
  impl_->check_complete("the final norm's output");
  at::Tensor residual_BTD = impl_->embed(tokens_BT);
  impl_->run_blocks(residual_BTD, 0, impl_->loaded_layers, edit_layers, edit);
  return impl_->decoder->final_norm(residual_BTD);
}

at::Tensor LanguageModel::residual_before(const at::Tensor& tokens_BT, int64_t first_layer) const {
  const c10::NoGradGuard no_grad;
  impl_->check_layer(first_layer);
  at::Tensor residual_BTD = impl_->embed(tokens_BT);
  impl_->run_blocks(residual_BTD, 0, first_layer);
  return residual_BTD;
}

at::Tensor LanguageModel::final_hidden_from(const at::Tensor& residual_BTD,
                                            int64_t first_layer,
                                            const std::vector<int64_t>& edit_layers,
                                            const Edit& edit) const {
  const c10::NoGradGuard no_grad;
  impl_->check_complete("the final norm's output");
  impl_->check_layer(first_layer);
  LORSA_CHECK(residual_BTD.dim() == 3 && residual_BTD.size(2) == impl_->config.d_model, ShapeError,
              "model {}: expected a residual [B, T, {}], found {}", impl_->config.name,
              impl_->config.d_model, residual_BTD.sizes());
  impl_->check_context(residual_BTD.size(1));
  // The blocks work in place; the caller runs several edits from one residual.
  at::Tensor residual = residual_BTD.to(impl_->device, impl_->dtype,
                                        /*non_blocking=*/false,
                                        /*copy=*/true, at::MemoryFormat::Contiguous);
  impl_->run_blocks(residual, first_layer, impl_->loaded_layers, edit_layers, edit);
  return impl_->decoder->final_norm(residual);
}

at::Tensor LanguageModel::unembed(const at::Tensor& hidden) const {
  const c10::NoGradGuard no_grad;
  impl_->check_head("unembed");
  const at::Tensor& W_VD = impl_->decoder->vocabulary().unembedding();
  LORSA_CHECK(hidden.dim() >= 1 && hidden.size(-1) == impl_->config.d_model, ShapeError,
              "model {}: expected hidden states [.., {}], found {}", impl_->config.name,
              impl_->config.d_model, hidden.sizes());
  const at::Tensor h = hidden.to(impl_->device, impl_->dtype);
  if (impl_->device.is_cpu() || impl_->dtype == at::kFloat) {
    return at::linear(h, W_VD).to(at::kFloat);
  }
  // bfloat16 products with float32 results: a logit of 20 would otherwise be rounded to 1/16.
  std::vector<int64_t> shape = h.sizes().vec();
  shape.back() = W_VD.size(0);
  return at::mm(h.reshape({-1, W_VD.size(1)}), W_VD.t(), at::kFloat).view(shape);
}

at::Tensor LanguageModel::direct_logits(const at::Tensor& directions_nD) const {
  const c10::NoGradGuard no_grad;
  impl_->check_head("direct_logits");
  LORSA_CHECK(directions_nD.dim() == 2 && directions_nD.size(1) == impl_->config.d_model,
              ShapeError, "model {}: expected directions [n, {}], found {}", impl_->config.name,
              impl_->config.d_model, directions_nD.sizes());
  const at::Tensor& W_VD = impl_->decoder->vocabulary().unembedding();
  const at::Tensor scaled_nD =
      impl_->decoder->final_norm_direction(directions_nD.to(impl_->device, at::kFloat));
  if (W_VD.scalar_type() == at::kFloat) {
    return at::linear(scaled_nD, W_VD);
  }
  // In float32 all the same, a slice of the vocabulary at a time: a float32 copy of the whole
  // unembedding takes 2 GiB for Llama-3.1-8B.
  constexpr int64_t kSlice = 16384;
  std::vector<at::Tensor> parts;
  for (int64_t begin = 0; begin < W_VD.size(0); begin += kSlice) {
    const at::Tensor slice = W_VD.narrow(0, begin, std::min(kSlice, W_VD.size(0) - begin));
    parts.push_back(at::linear(scaled_nD, slice.to(at::kFloat)));
  }
  return at::cat(parts, 1);
}

kernels::Mhsa LanguageModel::attention(int64_t layer) const {
  const c10::NoGradGuard no_grad;
  impl_->check_layer(layer);
  return impl_->decoder->attention(layer);
}

}  // namespace lorsa::lm
