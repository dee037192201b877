#include "lorsa/eval/evaluate.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "eval/cache_pass.h"
#include "eval/candidate.h"
#include "eval/interventions.h"
#include "eval/language_meter.h"
#include "eval/long_context.h"
#include "eval/replacement.h"
#include "lorsa/core/device.h"
#include "lorsa/core/error.h"
#include "lorsa/core/log.h"
#include "lorsa/data/cache_reader.h"
#include "lorsa/lm/language_model.h"
#include "lorsa/metrics/error_correlation.h"
#include "lorsa/model/checkpoint.h"

namespace lorsa::eval {
namespace {

/// One pass over the held-out rows for all checkpoints.
class Evaluation {
 public:
  Evaluation(const EvalOptions& options,
             data::CacheReader&& cache,
             std::vector<NamedDictionary>&& dictionaries,
             c10::Device device)
      : options_(options),
        device_(device),
        cache_(std::move(cache)),
        rows_(heldout_rows(cache_, options.max_rows)),
        errors_(static_cast<int64_t>(dictionaries.size())) {
    if (cache_.find_attention() != nullptr) {
      layer_ = cache_.attention().to(device, at::kFloat);
    }
    for (NamedDictionary& named : dictionaries) {
      candidates_.push_back(std::make_unique<Candidate>(std::move(named), cache_.manifest()));
    }
    check_batch();
    plan_ = plan_interventions(options, candidates_.front()->dictionary.shape(), cache_.manifest());
    LORSA_CHECK(!plan_ || candidates_.size() == 1, ConfigError,
                "--ablate-heads and --steer: expected one CHECKPOINT, found {}",
                candidates_.size());
    if (!options.model.empty()) {
      language_model_ = load_model_of(options.model, cache_, device);
    }
    check_context_lengths(options, language_model_.get(), cache_.manifest(), num_rows());
    make_meters();
  }

  void run() {
    Progress bar("evaluate", num_rows() * context_length(), "tokens", 0, options_.progress);
    int64_t done = 0;
    for_each_batch(cache_, rows_, options_.batch_sequences, [&](const data::Batch& batch) {
      add(batch, done);
      done += batch.input_BTD.size(0);
      bar.update(done * context_length());
    });
    bar.finish();
  }

  [[nodiscard]] std::vector<EvalReport> reports() {
    const data::Manifest& manifest = cache_.manifest();
    std::vector<EvalReport> reports;
    for (const auto& candidate : candidates_) {
      reports.push_back(candidate->report(layer_ ? &*layer_ : nullptr));
      reports.back().model_name = manifest.model_name;
      reports.back().site = manifest.site;
      reports.back().num_rows = num_rows();
    }
    if (language_) {
      const std::vector<LanguageReport> language = language_->reports();
      for (size_t i = 0; i < reports.size(); ++i) {
        reports[i].language = language[i];
      }
    }
    add_shared_errors(reports);
    add_long_contexts(reports);
    if (plan_) {
      // All that is measured of the Lorsa as it was is measured.
      candidates_.front()->dictionary.to_unit_form();
      reports.front().interventions = carry_out(*plan_, reports.front().usage.rate_H);
    }
    return reports;
  }

 private:
  [[nodiscard]] int64_t num_rows() const { return static_cast<int64_t>(rows_.size()); }

  [[nodiscard]] int64_t context_length() const { return cache_.manifest().context_length; }

  /// What a batch holds at least: z of all heads and their scores; input, target, output, error.
  void check_batch() const {
    const auto tokens =
        static_cast<double>(std::min(options_.batch_sequences, num_rows()) * context_length());
    for (const auto& candidate : candidates_) {
      const model::DictionaryShape& shape = candidate->dictionary.shape();
      check_memory(tokens * 4.0 * static_cast<double>(2 * shape.num_ov_heads + 4 * shape.d_model),
                   device_,
                   formatted("batches of {} rows (--batch-sequences)", options_.batch_sequences));
    }
  }

  void make_meters() {
    const data::Manifest& manifest = cache_.manifest();
    const at::Tensor target_mean_D =
        at::tensor(manifest.target_mean, at::kDouble).to(at::kFloat).to(device_);
    std::vector<const model::Dictionary*> dictionaries;
    for (const auto& candidate : candidates_) {
      const model::Dictionary& dictionary = candidate->dictionary;
      dictionaries.push_back(&dictionary);
      if (layer_ && dictionary.shape().num_qk_heads > 0 && options_.pattern_rows > 0) {
        candidate->patterns = std::make_unique<PatternMeter>(dictionary, *layer_);
      }
    }
    if (language_model_) {
      language_ = std::make_unique<LanguageMeter>(*language_model_, std::move(dictionaries),
                                                  manifest.site, target_mean_D);
    }
  }

  // Rows `first` ... of the held-out ones.
  void add(const data::Batch& batch, int64_t first) {
    const at::Tensor input_BTD = batch.input_BTD.to(device_, at::kFloat);
    const at::Tensor target_BTD = batch.target_BTD.to(device_, at::kFloat);
    const at::Tensor scored_BT = batch.scored_BT.to(device_);
    const int64_t with_patterns =
        std::clamp<int64_t>(options_.pattern_rows - first, 0, input_BTD.size(0));
    std::vector<at::Tensor> outputs;
    for (const auto& candidate : candidates_) {
      outputs.push_back(candidate->add(input_BTD, target_BTD, scored_BT));
      if (candidate->patterns && with_patterns > 0) {
        candidate->patterns->add(input_BTD.narrow(0, 0, with_patterns),
                                 scored_BT.narrow(0, 0, with_patterns));
      }
    }
    if (language_) {
      language_->add(batch.tokens_BT, batch.scored_BT);
    }
    if (candidates_.size() > 1) {
      errors_.add(outputs, target_BTD, scored_BT);
    }
    if (!options_.context_lengths.empty()) {
      tokens_.push_back(batch.tokens_BT);
      scored_.push_back(batch.scored_BT);
    }
  }

  [[nodiscard]] InterventionReport carry_out(const InterventionPlan& plan,
                                             const at::Tensor& rate_H) const {
    const EditedLayer layer{*language_model_, candidates_.front()->dictionary,
                            cache_.manifest().site};
    return intervene(plan,
                     {layer, cache_, rows_, rate_H, options_.batch_sequences, options_.progress});
  }

  void add_shared_errors(std::vector<EvalReport>& reports) const {
    if (reports.size() < 2) {
      return;
    }
    const metrics::ErrorCorrelationReport errors = errors_.report();
    for (size_t a = 0; a < reports.size(); ++a) {
      for (size_t b = 0; b < reports.size(); ++b) {
        const auto entry = [&](const at::Tensor& matrix_CC) {
          return matrix_CC[static_cast<int64_t>(a)][static_cast<int64_t>(b)].item<double>();
        };
        reports[a].shared_errors.push_back(
            {.checkpoint = reports[b].checkpoint,
             .cosine = entry(errors.cosine_CC),
             .squared_norm_correlation = entry(errors.squared_norm_correlation_CC),
             .explained = entry(errors.explained_CC)});
      }
    }
  }

  void add_long_contexts(std::vector<EvalReport>& reports) const {
    std::vector<const model::Dictionary*> dictionaries;
    for (const auto& candidate : candidates_) {
      dictionaries.push_back(&candidate->dictionary);
    }
    const data::Manifest& manifest = cache_.manifest();
    const RowStart start = manifest.prepend_bos ? RowStart::kBos : RowStart::kText;
    for (const int64_t length : options_.context_lengths) {
      // As many tokens a batch as in the pass over the cache.
      const int64_t rows_per_batch =
          std::max<int64_t>(1, options_.batch_sequences * context_length() / length);
      const LongRows rows = join_rows(at::cat(tokens_), at::cat(scored_), length, start);
      const std::vector<LongContextReport> found = judge_long_rows(
          *language_model_, manifest.site, dictionaries, rows, rows_per_batch, options_.progress);
      for (size_t i = 0; i < reports.size(); ++i) {
        reports[i].long_contexts.push_back(found[i]);
      }
    }
  }

  const EvalOptions& options_;
  c10::Device device_;
  data::CacheReader cache_;
  std::vector<int64_t> rows_;
  std::optional<kernels::Mhsa> layer_;  // of attention sites
  std::unique_ptr<lm::LanguageModel> language_model_;
  std::vector<std::unique_ptr<Candidate>> candidates_;
  std::unique_ptr<LanguageMeter> language_;  // of all candidates; null: not measured
  std::optional<InterventionPlan> plan_;
  metrics::ErrorCorrelationMeter errors_;
  std::vector<at::Tensor> tokens_;  // of all rows, where longer ones are to be made of them
  std::vector<at::Tensor> scored_;
};

std::vector<EvalReport> evaluate_on(const EvalOptions& options,
                                    data::CacheReader&& cache,
                                    std::vector<NamedDictionary>&& dictionaries,
                                    c10::Device device) {
  LORSA_CHECK(options.batch_sequences > 0, ConfigError,
              "--batch-sequences: expected a positive number, found {}", options.batch_sequences);
  const NumThreads threads(options.threads);
  Evaluation evaluation(options, std::move(cache), std::move(dictionaries), device);
  evaluation.run();
  return evaluation.reports();
}

}  // namespace

EvalReport evaluate(const EvalOptions& options) {
  return evaluate_together(options, {options.checkpoint}).front();
}

std::vector<EvalReport> evaluate_together(const EvalOptions& options,
                                          const std::vector<std::filesystem::path>& checkpoints) {
  LORSA_CHECK(!checkpoints.empty(), ConfigError, "expected at least one checkpoint, found none");
  const c10::Device device = resolve_device(options.device);
  data::CacheReader cache(options.cache);
  std::vector<NamedDictionary> dictionaries;
  for (const std::filesystem::path& checkpoint : checkpoints) {
    dictionaries.push_back(
        {checkpoint.string(), load_for_cache(checkpoint, cache, device).dictionary});
  }
  return evaluate_on(options, std::move(cache), std::move(dictionaries), device);
}

std::vector<EvalReport> evaluate_dictionaries(const EvalOptions& options,
                                              std::vector<NamedDictionary> dictionaries) {
  LORSA_CHECK(!dictionaries.empty(), ConfigError, "expected at least one dictionary, found none");
  const c10::Device device = resolve_device(options.device);
  data::CacheReader cache(options.cache);
  const data::Manifest& manifest = cache.manifest();
  for (NamedDictionary& named : dictionaries) {
    const model::DictionaryShape& shape = named.dictionary.shape();
    const model::KindInfo& kind = named.dictionary.info();
    LORSA_CHECK(shape.d_model == manifest.d_model, ConfigError,
                "{}: d_model is {}, that of {} is {}", named.name, shape.d_model, options.cache,
                manifest.d_model);
    LORSA_CHECK(kind.component.value_or(manifest.site.component) == manifest.site.component,
                ConfigError, "{}: {} does not stand for {}, which {} holds", named.name, kind.noun,
                to_string(manifest.site), options.cache);
    for (const auto& [name, tensor] : named.dictionary.weights().named()) {
      // A copy: interventions bring weights into unit form, and the caller's stay as they are.
      *tensor = tensor->to(device, at::kFloat, /*non_blocking=*/false, /*copy=*/true);
    }
  }
  return evaluate_on(options, std::move(cache), std::move(dictionaries), device);
}

}  // namespace lorsa::eval
