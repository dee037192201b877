#include "lorsa/lm/language_model.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <mutex>
#include <optional>
#include <span>
#include <utility>

#include "lm/block.h"
#include "lm/family.h"
#include "lm/pass.h"
#include "lm/weight_loader.h"
#include "lorsa/core/error.h"

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

/// Sequences of one forward pass: on CUDA all, on the CPU as many as bound the memory (SmolLM2: 40
/// MB). Passes of 512 tokens keep activations in the cache but pack the weights and meet at
/// barriers four times as often: with 2 busy cores they took 1.2 times the processor time of 2048
/// (Xeon with AVX-512, November 2026).
int64_t rows_per_pass(c10::Device device, int64_t num_positions) {
  constexpr int64_t kTokens = 2048;
  return device.is_cpu() ? std::max<int64_t>(1, kTokens / num_positions)
                         : std::numeric_limits<int64_t>::max();
}

}  // namespace

struct LanguageModel::Impl {
  ModelConfig config;
  c10::Device device;
  at::ScalarType dtype;
  int64_t loaded_layers = 0;
  Head head;
  std::vector<std::filesystem::path> weight_paths;
  Component last_component;
  std::optional<const Vocabulary> vocabulary;
  std::vector<Block> blocks;
  Norm final_norm;
  mutable std::once_flag digest_once;
  mutable std::string digest;

  Impl(const std::filesystem::path& folder, c10::Device target, const LoadOptions& options)
      : config(read_model_config(folder)),
        device(target),
        dtype(compute_dtype_of(options.dtype, target)),
        loaded_layers(std::min(options.num_layers, config.num_layers)),
        head(options.head),
        last_component(options.last_component) {
    LORSA_CHECK(loaded_layers >= 0, ConfigError, "model: {} layers were asked for", loaded_layers);
    const c10::NoGradGuard no_grad;
    const WeightFiles weights(folder);
    weight_paths = weights.paths();
    const Family& family = family_named(config.architecture, folder.string());
    const Placement placement{device, dtype, loaded_layers, head, last_component};
    const WeightLoader load(weights, placement);
    vocabulary.emplace(config, weights, placement, family.vocabulary);
    for (int64_t layer = 0; layer < loaded_layers; ++layer) {
      blocks.emplace_back(config, config.layers.at(static_cast<size_t>(layer)),
                          family.load_block(load, config, layer));
    }
    if (head == Head::kLoad) {
      final_norm = load.norm(family.final_norm, config.layers.back(), config.d_model);
    }
  }

  void check_layer(int64_t layer) const {
    LORSA_CHECK(layer >= 0 && layer < loaded_layers, ConfigError,
                "model {}: layer {} is outside the {} layers that {}", config.name, layer,
                loaded_layers, loaded_layers == config.num_layers ? "it has" : "were loaded");
  }

  void check_site(const Site& site) const {
    check_layer(site.layer);
    LORSA_CHECK(site.component == Component::kAttention || head == Head::kLoad ||
                    site.layer + 1 < loaded_layers || last_component == Component::kMlp,
                ConfigError, "{}: the MLP of layer {} was not loaded", config.name, site.layer);
  }

  void check_run(int64_t first,
                 const std::vector<Site>& taps,
                 const std::vector<Edit>& edits,
                 Until until) const {
    for (size_t i = 0; i < taps.size(); ++i) {
      check_site(taps[i]);
      LORSA_CHECK(taps[i].layer >= first, ConfigError,
                  "model {}: {} is to be tapped, but the run begins at layer {}", config.name,
                  to_string(taps[i]), first);
      LORSA_CHECK(i == 0 || taps[i] > taps[i - 1], ConfigError,
                  "model {}: sites must ascend, found {} behind {}", config.name,
                  to_string(taps[i]), to_string(taps[i - 1]));
    }
    for (const Edit& edit : edits) {
      check_site(edit.site);
      const bool is_passed =
          edit.site.layer >= first &&
          (until == Until::kFinalNorm || (!taps.empty() && edit.site <= taps.back()));
      const auto times = std::count_if(edits.begin(), edits.end(),
                                       [&](const Edit& other) { return other.site == edit.site; });
      LORSA_CHECK(edit.replace != nullptr && is_passed && times == 1, ConfigError,
                  "model {}: {} is to be edited, but {}", config.name, to_string(edit.site),
                  edit.replace == nullptr ? "no edit is given"
                  : !is_passed            ? "this run does not pass it"
                                          : "twice");
    }
    if (until == Until::kFinalNorm) {
      check_complete("the final norm's output");
    }
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
                "model {}: {} needs final norm and unembedding: not loaded", config.name, what);
  }

  void check_complete(const char* what) const {
    check_head(what);
    LORSA_CHECK(loaded_layers == config.num_layers, ConfigError,
                "model {}: {} needs all {} layers, {} were loaded", config.name, what,
                config.num_layers, loaded_layers);
  }

  [[nodiscard]] at::Tensor embed(const at::Tensor& tokens_BT) const {
    check_tokens(tokens_BT);
    return vocabulary->embed(tokens_BT.to(device));
  }

  /// LanguageModel::run() of checked arguments, from a residual of its own.
  RunResult run_from(at::Tensor residual_BTD,
                     int64_t first,
                     std::span<const Site> taps,
                     std::span<const Edit> edits,
                     Until until) const {
    Pass pass(config, blocks, taps, edits);
    pass.run(residual_BTD, first, loaded_layers, until);
    RunResult result{std::move(pass.taps()), {}};
    if (until == Until::kFinalNorm) {
      result.hidden_BTD = final_norm(config.layers.back(), residual_BTD);
    }
    return result;
  }

  /// Puts a pass's rows where they belong; those of the only pass are taken as they are.
  static void keep(const SiteActivations& step, int64_t begin, SiteActivations& result) {
    if (!result.input_BTD.defined()) {
      result = step;
      return;
    }
    result.input_BTD.narrow(0, begin, step.input_BTD.size(0)).copy_(step.input_BTD);
    result.output_BTD.narrow(0, begin, step.output_BTD.size(0)).copy_(step.output_BTD);
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
  std::call_once(impl_->digest_once, [&] { impl_->digest = weights_digest(impl_->weight_paths); });
  return impl_->digest;
}

RunResult LanguageModel::run(const Residual& from,
                             const std::vector<Site>& taps,
                             const std::vector<Edit>& edits,
                             Until until) const {
  const c10::NoGradGuard no_grad;
  impl_->check_layer(from.layer);
  impl_->check_run(from.layer, taps, edits, until);
  LORSA_CHECK(from.residual_BTD.dim() == 3 && from.residual_BTD.size(2) == impl_->config.d_model,
              ShapeError, "model {}: expected a residual [B, T, {}], found {}", impl_->config.name,
              impl_->config.d_model, from.residual_BTD.sizes());
  impl_->check_context(from.residual_BTD.size(1));
  // The blocks work in place; the caller makes several runs from one residual.
  at::Tensor residual = from.residual_BTD.to(impl_->device, impl_->dtype,
                                             /*non_blocking=*/false,
                                             /*copy=*/true, at::MemoryFormat::Contiguous);
  return impl_->run_from(std::move(residual), from.layer, taps, edits, until);
}

RunResult LanguageModel::run(const at::Tensor& tokens_BT,
                             const std::vector<Site>& taps,
                             const std::vector<Edit>& edits,
                             Until until) const {
  const c10::NoGradGuard no_grad;
  impl_->check_run(0, taps, edits, until);
  return impl_->run_from(impl_->embed(tokens_BT), 0, taps, edits, until);
}

Residual LanguageModel::residual_before(const at::Tensor& tokens_BT, int64_t layer) const {
  const c10::NoGradGuard no_grad;
  impl_->check_layer(layer);
  Residual before{impl_->embed(tokens_BT), layer};
  Pass(impl_->config, impl_->blocks).run(before.residual_BTD, 0, layer, Until::kFinalNorm);
  return before;
}

std::vector<SiteActivations> LanguageModel::activations(const at::Tensor& tokens_BT,
                                                        const std::vector<Site>& sites) const {
  const c10::NoGradGuard no_grad;
  impl_->check_tokens(tokens_BT);
  impl_->check_run(0, sites, {}, Until::kLastTap);
  const int64_t B = tokens_BT.size(0);
  const int64_t T = tokens_BT.size(1);
  std::vector<SiteActivations> result(sites.size());
  if (sites.empty()) {
    return result;
  }
  const at::Tensor tokens = tokens_BT.to(impl_->device);
  const int64_t rows = rows_per_pass(impl_->device, T);
  if (B > rows || B == 0) {
    const at::TensorOptions options = at::TensorOptions().dtype(impl_->dtype).device(impl_->device);
    for (SiteActivations& site : result) {
      site.input_BTD = at::empty({B, T, impl_->config.d_model}, options);
      site.output_BTD = at::empty({B, T, impl_->config.d_model}, options);
    }
  }
  for (int64_t begin = 0; begin < B; begin += rows) {
    const int64_t size = std::min(rows, B - begin);
    const RunResult pass =
        impl_->run_from(impl_->vocabulary->embed(tokens.narrow(0, begin, size)), 0, sites,
                        /*edits=*/{}, Until::kLastTap);
    for (size_t i = 0; i < sites.size(); ++i) {
      Impl::keep(pass.taps[i], begin, result[i]);
    }
  }
  return result;
}

at::Tensor LanguageModel::logits(const at::Tensor& tokens_BT,
                                 const std::vector<Edit>& edits) const {
  return unembed(final_hidden(tokens_BT, edits));
}

at::Tensor LanguageModel::final_hidden(const at::Tensor& tokens_BT,
                                       const std::vector<Edit>& edits) const {
  return run(tokens_BT, /*taps=*/{}, edits).hidden_BTD;
}

at::Tensor LanguageModel::final_hidden(const Residual& from, const std::vector<Edit>& edits) const {
  return run(from, /*taps=*/{}, edits).hidden_BTD;
}

at::Tensor LanguageModel::unembed(const at::Tensor& hidden) const {
  const c10::NoGradGuard no_grad;
  impl_->check_head("unembed");
  const at::Tensor& W_VD = impl_->vocabulary->unembedding();
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
  const at::Tensor& W_VD = impl_->vocabulary->unembedding();
  const at::Tensor scaled_nD = impl_->final_norm.of_direction(
      impl_->config.layers.back(), directions_nD.to(impl_->device, at::kFloat));
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
  return impl_->blocks[static_cast<size_t>(layer)].mhsa();
}

}  // namespace lorsa::lm
