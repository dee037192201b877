#include "lorsa/eval/evaluate.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <memory>

#include "eval/interventions.h"
#include "eval/language_meter.h"
#include "lorsa/core/device.h"
#include "lorsa/core/error.h"
#include "lorsa/core/log.h"
#include "lorsa/core/stop_signal.h"
#include "lorsa/data/cache_reader.h"
#include "lorsa/lm/language_model.h"
#include "lorsa/model/checkpoint.h"

namespace lorsa::eval {
namespace {

// Checkpoint, cache and model speak of one layer of one model.
void check_belong(const EvalOptions& options,
                  const model::LoadedLorsa& loaded,
                  const data::Manifest& manifest) {
  const auto refuse_unless =
      [&](bool equal, const char* what, const auto& ours, const auto& theirs) {
        LORSA_CHECK(equal,
                    ConfigError,
                    options.checkpoint.string(),
                    " and ",
                    options.cache.string(),
                    " do not belong together: the checkpoint's ",
                    what,
                    " is ",
                    ours,
                    ", the cache's ",
                    theirs);
      };
  const int64_t width = loaded.lorsa.shape().d_model;
  refuse_unless(width == manifest.d_model, "d_model", width, manifest.d_model);
  refuse_unless(loaded.info.layer == manifest.layer, "layer", loaded.info.layer, manifest.layer);
  refuse_unless(loaded.info.weights_sha256 == manifest.weights_sha256,
                "language model (SHA-256 of its weights)",
                loaded.info.weights_sha256,
                manifest.weights_sha256);
  refuse_unless(loaded.info.input_convention == manifest.input_convention,
                "input convention",
                loaded.info.input_convention,
                manifest.input_convention);
}

std::unique_ptr<lm::LanguageModel> load_model(const EvalOptions& options,
                                              c10::Device device,
                                              const data::Manifest& manifest) {
  if (options.model.empty()) {
    return nullptr;
  }
  auto model = std::make_unique<lm::LanguageModel>(options.model, device);
  LORSA_CHECK(model->weights_sha256() == manifest.weights_sha256,
              ConfigError,
              options.model.string(),
              " is not the model that ",
              options.cache.string(),
              " was extracted from: SHA-256 of its weights is ",
              model->weights_sha256(),
              ", the cache says ",
              manifest.weights_sha256);
  return model;
}

}  // namespace

EvalReport evaluate(const EvalOptions& options) {
  LORSA_CHECK(options.batch_sequences > 0,
              ConfigError,
              "--batch-sequences: expected a positive number, found ",
              options.batch_sequences);
  const c10::Device device = resolve_device(options.device);
  set_num_threads(static_cast<int>(options.threads));
  model::LoadedLorsa loaded = model::load_folded(options.checkpoint);
  const data::CacheReader cache(options.cache);
  const data::Manifest& manifest = cache.manifest();
  check_belong(options, loaded, manifest);
  const std::optional<InterventionPlan> interventions =
      plan_interventions(options, loaded.lorsa.shape(), manifest);
  std::vector<int64_t> rows = cache.rows(data::Side::kHeldout);
  if (options.max_rows > 0 && static_cast<size_t>(options.max_rows) < rows.size()) {
    rows.resize(static_cast<size_t>(options.max_rows));
  }
  LORSA_CHECK(!rows.empty(),
              ConfigError,
              options.cache.string(),
              " holds no held-out rows: extract it with data.holdout_fraction > 0 and more tokens");
  for (const auto& [name, tensor] : loaded.lorsa.weights().named()) {
    *tensor = tensor->to(device);
  }
  const auto language_model = load_model(options, device, manifest);
  const at::Tensor target_mean_D =
      at::tensor(manifest.target_mean, at::kDouble).to(at::kFloat).to(device);
  std::unique_ptr<LanguageMeter> language;
  if (language_model) {
    language = std::make_unique<LanguageMeter>(
        *language_model, loaded.lorsa, manifest.layer, target_mean_D);
  }

  metrics::ReconstructionMeter reconstruction(manifest.context_length, manifest.d_model);
  metrics::UsageMeter usage(loaded.lorsa.shape().num_ov_heads);
  const auto num_rows = static_cast<int64_t>(rows.size());
  Progress bar("evaluate", num_rows * manifest.context_length, "tokens", 0, options.progress);
  for (int64_t first = 0; first < num_rows; first += options.batch_sequences) {
    if (StopSignal::requested()) {
      throw Interrupted(
          concat("stopped after ", first, " of ", num_rows, " rows; nothing was written"));
    }
    const int64_t last = std::min(first + options.batch_sequences, num_rows);
    const data::Batch batch = cache.read({rows.begin() + first, rows.begin() + last});
    const at::Tensor target_BTD = batch.target_BTD.to(device, at::kFloat);
    const model::Reconstruction out = loaded.lorsa.reconstruct(
        loaded.lorsa.shape().reads_target() ? target_BTD : batch.input_BTD.to(device, at::kFloat));
    const at::Tensor scored = batch.scored_BT.to(device);
    reconstruction.add(out.y_BTD, target_BTD, scored);
    usage.add(out.kept.value_PK, out.kept.head_PK, scored.reshape({-1}));
    if (language) {
      language->add(batch.tokens_BT, batch.scored_BT);
    }
    bar.update(last * manifest.context_length);
  }
  bar.finish();

  EvalReport report;
  report.checkpoint = options.checkpoint.string();
  report.kind = loaded.lorsa.shape().has_attention() ? "lorsa" : "sae";
  report.model_name = manifest.model_name;
  report.layer = manifest.layer;
  report.top_k = loaded.lorsa.shape().top_k;
  report.num_ov_heads = loaded.lorsa.shape().num_ov_heads;
  report.num_rows = num_rows;
  report.reconstruction = reconstruction.report();
  report.usage = usage.report();
  if (language) {
    report.language = language->report();
  }
  if (interventions) {
    // All that is measured of the Lorsa as it was is measured.
    loaded.lorsa.to_unit_form();
    report.interventions = intervene(*interventions,
                                     {{*language_model, loaded.lorsa, manifest.layer},
                                      cache,
                                      rows,
                                      report.usage.rate_H,
                                      options.batch_sequences,
                                      options.progress});
  }
  return report;
}

}  // namespace lorsa::eval
