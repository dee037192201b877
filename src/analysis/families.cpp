#include "lorsa/analysis/families.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <iomanip>
#include <set>
#include <sstream>

#include "lorsa/core/device.h"
#include "lorsa/core/error.h"
#include "lorsa/data/cache_reader.h"
#include "lorsa/eval/mhsa_comparison.h"
#include "lorsa/model/checkpoint.h"

namespace lorsa::analysis {
namespace {

constexpr int kHistogramBins = 20;

std::vector<int64_t> closest_heads(const model::Dictionary& dictionary,
                                   const data::CacheReader& cache,
                                   int64_t max_rows) {
  const at::Tensor& W_V = dictionary.weights().W_V;
  std::vector<int64_t> rows = cache.rows(data::Side::kHeldout);
  rows.resize(std::min(rows.size(), static_cast<size_t>(max_rows)));
  if (rows.empty()) {
    return {};
  }
  const kernels::Mhsa layer = cache.attention().to(W_V.device(), W_V.scalar_type());
  eval::PatternMeter meter(dictionary, layer);
  for (const int64_t row : rows) {
    const data::Batch batch = cache.read({row});
    meter.add(batch.input_BTD.to(W_V.device(), W_V.scalar_type()),
              batch.scored_BT.to(W_V.device()));
  }
  const at::Tensor closest_S = meter.report().closest_mhsa_S;
  return {closest_S.const_data_ptr<int64_t>(),
          closest_S.const_data_ptr<int64_t>() + closest_S.numel()};
}

/// Heads of a family under each MHSA head, most first.
std::vector<std::pair<int64_t, int64_t>> under_mhsa(const FamilyReport& report,
                                                    const std::vector<int64_t>& heads) {
  std::map<int64_t, int64_t> counts;
  for (const int64_t head : heads) {
    ++counts[report.closest_mhsa_S[static_cast<size_t>(head / report.group)]];
  }
  std::vector<std::pair<int64_t, int64_t>> sorted(counts.begin(), counts.end());
  std::stable_sort(sorted.begin(), sorted.end(),
                   [](const auto& a, const auto& b) { return a.second > b.second; });
  return sorted;
}

io::Json family_json(const FamilyReport& report, const FamilyScores& family) {
  const std::vector<int64_t> heads = family.heads();
  io::Json json;
  json["family"] = family.family;
  json["answer"] = family.answer;
  json["threshold"] = kFamilyShare;
  json["num_positions"] = family.num_positions;
  json["chance"] = family.chance;
  json["num_heads"] = heads.size();
  json["num_scored"] = family.num_scored();
  io::Json list = io::Json::array();
  for (const int64_t head : heads) {
    const auto h = static_cast<size_t>(head);
    list.push_back({{"head", head},
                    {"score", family.score_H[h]},
                    {"share_of_positions", static_cast<double>(family.acts_H[h]) /
                                               static_cast<double>(family.num_positions)}});
  }
  json["heads"] = std::move(list);
  if (!report.closest_mhsa_S.empty()) {
    io::Json under = io::Json::array();
    for (const auto& [mhsa, count] : under_mhsa(report, heads)) {
      under.push_back({{"mhsa_head", mhsa}, {"num_heads", count}});
    }
    json["closest_mhsa_heads"] = std::move(under);
  }
  return json;
}

std::vector<int64_t> histogram(const FamilyScores& family) {
  std::vector<int64_t> counts(kHistogramBins);
  for (const double score : family.score_H) {
    if (!std::isnan(score)) {
      ++counts[static_cast<size_t>(
          std::min<int>(kHistogramBins - 1, static_cast<int>(score * kHistogramBins)))];
    }
  }
  return counts;
}

}  // namespace

FamilyReport head_families(const FamilyOptions& options) {
  const c10::Device device = resolve_device(options.device);
  model::LoadedDictionary loaded = model::load_folded(options.checkpoint);
  const data::CacheReader cache(options.cache);
  lm::LoadOptions load;
  load.num_layers = loaded.info.site.layer + 1;
  load.head = lm::Head::kSkip;
  const lm::LanguageModel model(options.model, device, load);
  LORSA_CHECK(model.weights_sha256() == loaded.info.weights_sha256 &&
                  cache.manifest().weights_sha256 == loaded.info.weights_sha256 &&
                  cache.manifest().site == loaded.info.site,
              ConfigError,
              "{}, {} and {} do not belong together: SHA-256 of the language model's weights {}, "
              "{} and {}; {} and {}",
              options.checkpoint, options.cache, options.model, loaded.info.weights_sha256,
              cache.manifest().weights_sha256, model.weights_sha256(), to_string(loaded.info.site),
              to_string(cache.manifest().site));
  loaded.dictionary.to_unit_form();
  for (const auto& [name, tensor] : loaded.dictionary.weights().named()) {
    *tensor = tensor->to(device);
  }
  const lm::Tokenizer tokenizer(options.model);
  FamilyReport report = score_families(model, tokenizer, loaded.dictionary, loaded.info.site.layer,
                                       options.probes, options.progress);
  report.closest_mhsa_S = closest_heads(loaded.dictionary, cache, options.pattern_rows);
  return report;
}

io::Json to_json(const FamilyReport& report) {
  io::Json json;
  io::Json probes = io::Json::array();
  io::Json histograms = io::Json::object();
  for (const FamilyScores& family : report.families) {
    probes.push_back(family_json(report, family));
    histograms[family.family] = histogram(family);
  }
  json["families"] = {{"probes", std::move(probes)}, {"scores_histogram", std::move(histograms)}};
  if (!report.closest_mhsa_S.empty()) {
    json["families"]["closest_mhsa_of_qk"] = report.closest_mhsa_S;
  }
  io::Json plots = io::Json::array();
  for (const OperandPlot& plot : report.plots) {
    plots.push_back({{"head", plot.head},
                     {"family", "arithmetic"},
                     {"score", plot.score},
                     {"operator", plot.sign},
                     {"a", plot.operands},
                     {"b", plot.operands},
                     {"activation", plot.activation}});
  }
  json["operand_plots"] = std::move(plots);
  return json;
}

std::string to_table(const FamilyReport& report) {
  std::ostringstream out;
  const bool compared = !report.closest_mhsa_S.empty();
  out << "Head families: heads with more than half of their positive z-pattern on the answers\n"
      << "  " << std::left << std::setw(20) << "family" << std::right << std::setw(7) << "heads"
      << std::setw(11) << "of scored" << std::setw(9) << "chance"
      << (compared ? "  closest MHSA heads" : "") << '\n';
  for (const FamilyScores& family : report.families) {
    const std::vector<int64_t> heads = family.heads();
    out << "  " << std::left << std::setw(20) << family.family << std::right << std::setw(7)
        << heads.size() << std::setw(11) << family.num_scored() << std::setw(9) << std::fixed
        << std::setprecision(3) << family.chance;
    if (compared) {
      out << " ";
      for (const auto& [mhsa, count] : under_mhsa(report, heads)) {
        out << ' ' << mhsa << ":" << count;
      }
    }
    out << '\n';
  }
  return out.str();
}

}  // namespace lorsa::analysis
