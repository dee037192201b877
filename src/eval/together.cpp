#include "lorsa/eval/together.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <iomanip>
#include <sstream>
#include <utility>

#include "eval/cache_pass.h"
#include "eval/prediction_meter.h"
#include "eval/replacement.h"
#include "lorsa/core/device.h"
#include "lorsa/core/error.h"
#include "lorsa/data/cache_reader.h"
#include "lorsa/model/checkpoint.h"

namespace lorsa::eval {
struct TogetherMeter::Impl {
  const lm::LanguageModel& model;
  std::vector<Replacement> replacements;
  int64_t first_layer = 0;
  PredictionMeter predictions;  // of every replacement alone, then of all

  Impl(const lm::LanguageModel& language, std::vector<Replacement> all)
      : model(language), replacements(std::move(all)), predictions(replacements.size() + 1) {
    LORSA_CHECK(!replacements.empty(), ConfigError, "--together: expected checkpoints, found none");
    std::vector<Site> sites;
    for (const Replacement& replacement : replacements) {
      const Site& site = replacement.site;
      LORSA_CHECK(site.layer >= 0 && site.layer < model.config().num_layers, ConfigError,
                  "--together: {}: {} has {} layers", to_string(site), model.config().name,
                  model.config().num_layers);
      LORSA_CHECK(std::find(sites.begin(), sites.end(), site) == sites.end(), ConfigError,
                  "--together: two checkpoints stand for {}", to_string(site));
      sites.push_back(site);
    }
    first_layer = std::min_element(sites.begin(), sites.end())->layer;
  }

  void add(const at::Tensor& tokens_BT, const at::Tensor& scored_BT) {
    const at::NoGradGuard no_grad;
    const at::Tensor scored_BT1 = scored_BT.to(model.device()).unsqueeze(-1);
    const lm::Residual from = model.residual_before(tokens_BT, first_layer);
    std::vector<lm::Edit> all;
    std::vector<lm::Edit> zeros;
    std::vector<at::Tensor> h_replaced;
    for (const Replacement& replacement : replacements) {
      all.push_back(replaced_by(replacement, scored_BT1));
      zeros.push_back(replaced_by(replacement.site, at::zeros({1}), scored_BT1));
      h_replaced.push_back(model.final_hidden(from, {all.back()}));
    }
    h_replaced.push_back(model.final_hidden(from, all));
    const at::Tensor h_original = model.final_hidden(from);
    const at::Tensor h_zero = model.final_hidden(from, zeros);
    for (int64_t b = 0; b < tokens_BT.size(0); ++b) {
      const auto logits_of = [&](const at::Tensor& h_BTD) {
        return logits_of_row(model, h_BTD[b]);
      };
      RowLogits logits{logits_of(h_original), logits_of(h_zero), nullptr, {}};
      for (const at::Tensor& hidden_BTD : h_replaced) {
        logits.replaced.push_back(logits_of(hidden_BTD));
      }
      predictions.add_row(tokens_BT[b], scored_BT1[b].squeeze(-1), logits);
    }
  }
};

TogetherMeter::TogetherMeter(const lm::LanguageModel& model, std::vector<Replacement> replacements)
    : impl_(std::make_unique<Impl>(model, std::move(replacements))) {}

TogetherMeter::~TogetherMeter() = default;

void TogetherMeter::add(const at::Tensor& tokens_BT, const at::Tensor& scored_BT) {
  impl_->add(tokens_BT, scored_BT);
}

TogetherReport TogetherMeter::report() const {
  const std::vector<LanguageReport> found = impl_->predictions.reports();
  TogetherReport report;
  report.num_predictions = found.back().num_predictions;
  report.ce_original = found.back().ce_original;
  report.ce_zero_ablated = found.back().ce_zero_ablated;
  report.together = {found.back().ce_replaced, found.back().kl};
  report.ce_recovered = found.back().ce_recovered;
  for (size_t i = 0; i < impl_->replacements.size(); ++i) {
    report.alone.push_back(
        {"", "", impl_->replacements[i].site, {found[i].ce_replaced, found[i].kl}});
  }
  return report;
}

TogetherReport evaluate_replaced_together(const EvalOptions& options,
                                          const std::vector<std::filesystem::path>& checkpoints) {
  LORSA_CHECK(!options.model.empty(), ConfigError, "--together needs --model");
  const c10::Device device = resolve_device(options.device);
  const NumThreads threads(options.threads);
  const data::CacheReader cache(options.cache);
  const std::vector<int64_t> rows = heldout_rows(cache, options.max_rows);
  const std::string& expected = cache.manifest().weights_sha256;
  std::vector<model::LoadedDictionary> loaded;
  for (const std::filesystem::path& checkpoint : checkpoints) {
    loaded.push_back(model::load_folded(checkpoint));
    LORSA_CHECK(loaded.back().info.weights_sha256 == expected, ConfigError,
                "{} and {} do not belong together: SHA-256 of the language model's weights is {} "
                "for the checkpoint, {} for the cache",
                checkpoint, options.cache, loaded.back().info.weights_sha256, expected);
    for (const auto& [name, tensor] : loaded.back().dictionary.weights().named()) {
      *tensor = tensor->to(device);
    }
  }
  const std::unique_ptr<lm::LanguageModel> model = load_model_of(options.model, cache, device);
  std::vector<Replacement> replacements;
  for (const model::LoadedDictionary& each : loaded) {
    replacements.push_back({each.info.site, &each.dictionary});
  }
  TogetherMeter meter(*model, std::move(replacements));
  const int64_t length = cache.manifest().context_length;
  Progress bar("evaluate together", static_cast<int64_t>(rows.size()) * length, "tokens", 0,
               options.progress);
  int64_t done = 0;
  for_each_batch(cache, rows, options.batch_sequences, [&](const data::Batch& batch) {
    meter.add(batch.tokens_BT, batch.scored_BT);
    done += batch.tokens_BT.numel();
    bar.update(done);
  });
  bar.finish();
  TogetherReport report = meter.report();
  report.model_name = cache.manifest().model_name;
  report.num_rows = static_cast<int64_t>(rows.size());
  for (size_t i = 0; i < checkpoints.size(); ++i) {
    report.alone[i].checkpoint = checkpoints[i].string();
    report.alone[i].kind = loaded[i].dictionary.shape().kind;
  }
  return report;
}

io::Json to_json(const TogetherReport& r) {
  io::Json json;
  json["schema"] = "lorsa-eval-together-1";
  json["model"] = r.model_name;
  json["num_rows"] = r.num_rows;
  json["num_predictions"] = r.num_predictions;
  json["ce_original"] = r.ce_original;
  json["ce_zero_ablated"] = r.ce_zero_ablated;
  json["ce_replaced"] = r.together.ce;
  json["ce_recovered"] = r.ce_recovered;
  json["kl"] = r.together.kl;
  json["alone"] = io::Json::array();
  for (const TogetherReport::Alone& alone : r.alone) {
    json["alone"].push_back({{"checkpoint", alone.checkpoint},
                             {"kind", alone.kind},
                             {"layer", alone.site.layer},
                             {"component", to_string(alone.site.component)},
                             {"ce_replaced", alone.loss.ce},
                             {"kl", alone.loss.kl}});
  }
  return json;
}

std::string to_table(const TogetherReport& r) {
  std::ostringstream out;
  out << r.model_name << ", " << r.alone.size() << " sites replaced, " << r.num_rows
      << " held-out rows, " << r.num_predictions << " predictions\n";
  out << std::fixed << std::setprecision(4);
  const auto line = [&](const std::string& name, double ce, const std::string& rest) {
    out << "  " << std::left << std::setw(26) << name << std::right << std::setw(10) << ce << rest
        << '\n';
  };
  const auto kl = [](double value) {
    std::ostringstream text;
    text << std::fixed << std::setprecision(4) << std::setw(10) << value;
    return text.str();
  };
  out << std::left << std::setw(28) << "" << std::right << std::setw(10) << "ce" << std::setw(10)
      << "kl" << '\n';
  line("as it is", r.ce_original, "");
  for (const TogetherReport::Alone& alone : r.alone) {
    line(to_string(alone.site) + " alone", alone.loss.ce,
         kl(alone.loss.kl) + "  " + alone.kind + " " + alone.checkpoint);
  }
  line("all together", r.together.ce, kl(r.together.kl));
  line("all zero", r.ce_zero_ablated, "");
  line("recovered", r.ce_recovered, "  (zero - together) / (zero - as it is)");
  return out.str();
}

}  // namespace lorsa::eval
