#include "lorsa/analysis/families.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <iomanip>
#include <set>
#include <sstream>

#include "lorsa/core/error.h"
#include "lorsa/eval/mhsa_comparison.h"

namespace lorsa::analysis {
namespace {

constexpr int kHistogramBins = 20;

std::vector<int64_t> closest_heads(const model::Dictionary& dictionary,
                                   const study::Study& study,
                                   int64_t max_rows) {
  std::vector<int64_t> rows = study.cache().rows(data::Side::kHeldout);
  rows.resize(std::min(rows.size(), static_cast<size_t>(max_rows)));
  if (rows.empty()) {
    return {};
  }
  eval::PatternMeter meter(dictionary, *study.find_attention());
  const study::PassOptions row_by_row{.batch_sequences = 1, .progress = Progress::Visible::kNo};
  study::for_each_batch(study, "patterns", rows, row_by_row, [&](const study::StudyBatch& batch) {
    meter.add(batch.input_BTD, batch.scored_BT);
  });
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

FamilyReport head_families(const study::Study& study,
                           size_t member,
                           int64_t pattern_rows,
                           Progress::Visible progress,
                           const ProbeOptions& options) {
  study.require_members_of_cache();
  const model::Dictionary dictionary = study.members().at(member).dictionary.in_unit_form();
  FamilyReport report = score_families(study.model(), study.tokenizer(), dictionary,
                                       study.cache().manifest().site.layer, options, progress);
  report.closest_mhsa_S = closest_heads(dictionary, study, pattern_rows);
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
