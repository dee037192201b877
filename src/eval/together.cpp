#include "lorsa/eval/together.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <iomanip>
#include <sstream>
#include <utility>

#include "eval/prediction_meter.h"
#include "eval/replacement.h"
#include "lorsa/core/error.h"

namespace lorsa::eval {
struct TogetherMeter::Impl {
  const lm::LanguageModel& model;
  std::vector<Replacement> replacements;
  int64_t first_layer = 0;
  PredictionMeter predictions;  // of every replacement alone, then of all

  Impl(const lm::LanguageModel& language, std::vector<Replacement> all)
      : model(language), replacements(std::move(all)), predictions(replacements.size() + 1) {
    LORSA_CHECK(!replacements.empty(), ConfigError, "`together`: expected checkpoints, found none");
    std::vector<Site> sites;
    for (const Replacement& replacement : replacements) {
      const Site& site = replacement.site;
      LORSA_CHECK(site.layer >= 0 && site.layer < model.config().num_layers, ConfigError,
                  "`together`: {}: {} has {} layers", to_string(site), model.config().name,
                  model.config().num_layers);
      LORSA_CHECK(std::find(sites.begin(), sites.end(), site) == sites.end(), ConfigError,
                  "`together`: two checkpoints stand for {}", to_string(site));
      sites.push_back(site);
    }
    first_layer = std::min_element(sites.begin(), sites.end())->layer;
  }

  void add(const at::Tensor& tokens_BT, const at::Tensor& scored_BT) {
    const auto edits = [&](const at::Tensor& scored_BT1) {
      ReplacedRuns runs;
      std::vector<lm::Edit> all;
      for (const Replacement& replacement : replacements) {
        all.push_back(replaced_by(replacement, scored_BT1));
        runs.replaced.push_back({all.back()});
        runs.zero_ablated.push_back(replaced_by(replacement.site, at::zeros({1}), scored_BT1));
      }
      runs.replaced.push_back(std::move(all));
      return runs;
    };
    add_predictions(model, first_layer, tokens_BT, scored_BT, edits, predictions);
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

TogetherReport evaluate_together(const study::Study& study, const study::PassOptions& pass) {
  std::vector<Replacement> replacements;
  for (const study::Member& member : study.members()) {
    replacements.push_back({member.info.site, &member.dictionary});
  }
  TogetherMeter meter(study.model(), std::move(replacements));
  const std::vector<int64_t> rows = study::heldout_rows(study.cache(), pass.max_rows);
  study::for_each_batch(study, "evaluate together", rows, pass,
                        [&](const study::StudyBatch& batch) {
                          meter.add(batch.stored().tokens_BT, batch.stored().scored_BT);
                        });
  TogetherReport report = meter.report();
  report.model_name = study.cache().manifest().model_name;
  report.num_rows = static_cast<int64_t>(rows.size());
  for (size_t i = 0; i < report.alone.size(); ++i) {
    report.alone[i].checkpoint = study.members()[i].name;
    report.alone[i].kind = study.members()[i].dictionary.shape().kind;
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
