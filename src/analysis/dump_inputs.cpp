#include "analysis/dump_inputs.h"

#include <ATen/core/Tensor.h>

#include <algorithm>

#include "lorsa/core/device.h"
#include "lorsa/core/error.h"

namespace lorsa::analysis {
namespace {

void check_options(const DumpOptions& o) {
  const auto at_least = [](const char* name, int64_t value, int64_t least) {
    LORSA_CHECK(value >= least, ConfigError, "{}: expected at least {}, found {}", name, least,
                value);
  };
  at_least("contexts", o.num_contexts, 1);
  at_least("quantile-contexts", o.num_quantiles, 0);
  at_least("non-firing-contexts", o.num_non_firing, 0);
  at_least("delphi-splits", o.num_delphi_splits, 1);
  at_least("window", o.window_tokens, 1);
  at_least("max-rows", o.max_rows, 0);
  at_least("logit tokens", o.num_logit_tokens, 1);
  at_least("batch rows", o.batch_rows, 1);
}

/// A name and the digest of the weights behind it. Digests decide; without one, names do.
struct ModelIdentity {
  std::string where;
  std::string name;
  std::string sha256;

  [[nodiscard]] std::string text() const {
    return formatted("{}{}", name, sha256.empty() ? "" : " (sha256 " + sha256.substr(0, 12) + ")");
  }
};

void check_same_model(const ModelIdentity& a, const ModelIdentity& b) {
  const bool digests = !a.sha256.empty() && !b.sha256.empty();
  LORSA_CHECK(digests ? a.sha256 == b.sha256 : a.name == b.name, ConfigError,
              "{} belongs to the language model {}, but {} to {}", a.where, a.text(), b.where,
              b.text());
}

void check_checkpoint(const DumpOptions& options,
                      const model::LoadedDictionary& loaded,
                      const data::Manifest& manifest) {
  const auto differ = [&](const char* what, const auto& checkpoint, const auto& cache) {
    LORSA_CHECK(checkpoint == cache, ConfigError, "checkpoint {} has {} {}, cache {} has {}",
                options.checkpoint, what, checkpoint, options.cache, cache);
  };
  differ("d_model", loaded.dictionary.shape().d_model, manifest.d_model);
  differ("site", to_string(loaded.info.site), to_string(manifest.site));
  differ("input convention", loaded.info.input_convention, manifest.input_convention);
  check_same_model(
      {"checkpoint " + options.checkpoint.string(), loaded.info.model_name,
       loaded.info.weights_sha256},
      {"cache " + options.cache.string(), manifest.model_name, manifest.weights_sha256});
}

void check_model(const DumpOptions& options,
                 const lm::LanguageModel& model,
                 const data::Manifest& manifest) {
  check_same_model(
      {"cache " + options.cache.string(), manifest.model_name, manifest.weights_sha256},
      {"model folder " + options.model.string(), model.config().name, model.weights_sha256()});
}

void move_to(model::Dictionary& dictionary, c10::Device device) {
  for (const auto& [name, tensor] : dictionary.weights().named()) {
    *tensor = tensor->to(device);
  }
}

/// Contexts are kept on the host, of a head no more than there are tokens.
void check_context_memory(const DumpOptions& options,
                          const data::Manifest& manifest,
                          int64_t num_heads) {
  DumpOptions possible = options;
  for (int64_t* count :
       {&possible.num_contexts, &possible.num_quantiles, &possible.num_non_firing}) {
    *count = std::min(*count, manifest.num_tokens);
  }
  possible.window_tokens = std::min(possible.window_tokens, manifest.context_length);
  check_memory(static_cast<double>(dump_bytes(possible, num_heads)), c10::kCPU,
               "contexts of all heads (--contexts, --quantile-contexts, --non-firing-contexts, "
               "--window)");
}

}  // namespace

std::vector<int64_t> spread_rows(int64_t available, int64_t wanted) {
  const int64_t count = wanted == 0 ? available : std::min(wanted, available);
  std::vector<int64_t> rows(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) {
    rows[static_cast<size_t>(i)] = i * available / count;
  }
  return rows;
}

DumpInputs open_inputs(const DumpOptions& options) {
  check_options(options);
  const c10::Device device = resolve_device(options.device);
  // What costs little is checked before the language model is read.
  model::LoadedDictionary loaded = model::load_folded(options.checkpoint);
  data::CacheReader cache(options.cache);
  check_checkpoint(options, loaded, cache.manifest());
  LORSA_CHECK(
      options.delphi.empty() || options.num_delphi_splits <= loaded.dictionary.shape().num_ov_heads,
      ConfigError, "delphi-splits: {} are more than the checkpoint's {} heads",
      options.num_delphi_splits, loaded.dictionary.shape().num_ov_heads);
  check_context_memory(options, cache.manifest(), loaded.dictionary.shape().num_ov_heads);
  const auto num_scores = static_cast<int64_t>(options.family_scores.size());
  LORSA_CHECK(num_scores == 0 || num_scores == loaded.dictionary.shape().num_ov_heads, ConfigError,
              "family scores of {} heads, but the checkpoint has {}", num_scores,
              loaded.dictionary.shape().num_ov_heads);
  lm::Tokenizer tokenizer(options.model);
  lm::LoadOptions head_only;
  head_only.num_layers = 0;
  lm::LanguageModel model(options.model, device, head_only);
  check_model(options, model, cache.manifest());
  loaded.dictionary.to_unit_form();
  move_to(loaded.dictionary, device);
  std::vector<int64_t> rows = spread_rows(cache.manifest().num_rows, options.max_rows);
  return {std::move(loaded),    std::move(cache), std::move(model),
          std::move(tokenizer), std::move(rows),  device};
}

}  // namespace lorsa::analysis
