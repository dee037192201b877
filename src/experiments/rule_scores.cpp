#include "lorsa/experiments/rule_scores.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "experiments/rule_match.h"
#include "experiments/truth.h"
#include "lorsa/core/error.h"

namespace lorsa::experiments {
namespace {

constexpr double kMatched = 0.9;
constexpr int64_t kBatchTokens = 16384;
constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

double ratio(int64_t part, int64_t whole) {
  return whole > 0 ? static_cast<double>(part) / static_cast<double>(whole) : kNone;
}

/// A candidate position of the cache's held-out rows.
struct Place {
  int64_t row = 0;  ///< of the cache
  const Truth::Candidate* truth = nullptr;
};

class Scorer {
 public:
  Scorer(const study::Study& study, const Truth& truth)
      : study_(study), dictionary_(study.members().front().dictionary), truth_(truth) {}

  void read() {
    for_batches(study::heldout_rows(study_.cache()),
                [&](const study::StudyBatch& batch) { add(batch); });
  }

  [[nodiscard]] RuleReport report() {
    std::vector<std::vector<int64_t>> rules_of;
    for (const Place& place : places_) {
      std::vector<int64_t> rules;
      for (const Truth::Application& application : place.truth->applications) {
        rules.push_back(application.rule);
      }
      rules_of.push_back(std::move(rules));
    }
    const auto num_rules = static_cast<int64_t>(truth_.rules.size());
    best_ = best_units(firings_, rules_of, dictionary_.shape().num_ov_heads, num_rules);
    const std::vector<BestUnit> own =
        best_units(mhsa_firings_, rules_of, study_.cache().attention().num_heads(), num_rules);
    count_sources();
    RuleReport report;
    report.num_candidates = static_cast<int64_t>(places_.size());
    for (int64_t rule = 0; rule < num_rules; ++rule) {
      const auto r = static_cast<size_t>(rule);
      RuleScore score;
      score.rule = truth_.rules[r];
      for (const std::vector<int64_t>& rules : rules_of) {
        score.num_positions += std::ranges::count(rules, rule);
      }
      score.unit = best_[r].unit;
      score.threshold = best_[r].threshold;
      score.f1 = best_[r].f1;
      score.num_firings = best_[r].num_firings;
      score.source_share = has_patterns() ? ratio(own_source_[r], score.num_firings) : kNone;
      score.mhsa_head = own[r].unit;
      score.mhsa_f1 = own[r].f1;
      report.rules.push_back(score);
    }
    summarize(report);
    return report;
  }

 private:
  [[nodiscard]] bool has_patterns() const { return dictionary_.shape().num_qk_heads > 0; }

  /// As many rows at a time as hold kBatchTokens.
  template <typename Use>
  void for_batches(const std::vector<int64_t>& rows, const Use& use) const {
    const int64_t T = study_.cache().manifest().context_length;
    study::for_each_batch(study_, "rules", rows,
                          {.batch_sequences = std::max<int64_t>(kBatchTokens / T, 1),
                           .progress = Progress::Visible::kNo},
                          use);
  }

  void add(const study::StudyBatch& batch) {
    const data::Batch& stored = batch.stored();
    const int64_t T = batch.scored_BT.size(1);
    const auto first_place = static_cast<int64_t>(places_.size());
    std::vector<int64_t> flat;
    for (size_t b = 0; b < stored.rows.size(); ++b) {
      const auto document = stored.document_B[static_cast<int64_t>(b)].item<int64_t>();
      const auto known = truth_.documents.find(document);
      LORSA_CHECK(known != truth_.documents.end(), ConfigError,
                  "{}: document {} is held out there, but not in the truth file: caches need the "
                  "toy's corpus.npy and its data.holdout_fraction",
                  study_.cache().folder(), document);
      for (const Truth::Candidate& candidate : known->second) {
        places_.push_back({stored.rows[b], &candidate});
        flat.push_back(static_cast<int64_t>(b) * T + candidate.position);
      }
    }
    const at::Tensor flat_M = at::tensor(flat, at::kLong);
    const auto at_places = [&](const at::Tensor& values, at::ScalarType dtype) {
      return values.to(at::kCPU, dtype).index_select(0, flat_M).contiguous();
    };
    const kernels::TopK& kept = batch.output(0).kept;
    collect(at_places(kept.value_PK, at::kFloat), at_places(kept.head_PK, at::kLong), first_place,
            firings_);
    const at::Tensor norm_MN = at_places(head_norms(batch.input_BTD), at::kFloat);
    const at::Tensor head_MN = at::arange(norm_MN.size(1), at::kLong).expand_as(norm_MN);
    collect(norm_MN, head_MN.contiguous(), first_place, mhsa_firings_);
  }

  static void collect(const at::Tensor& value_MK,
                      const at::Tensor& head_MK,
                      int64_t first_place,
                      std::vector<Firing>& firings) {
    const float* value = value_MK.const_data_ptr<float>();
    const int64_t* head = head_MK.const_data_ptr<int64_t>();
    const int64_t K = value_MK.size(1);
    for (int64_t i = 0; i < value_MK.numel(); ++i) {
      if (value[i] > 0.0F) {
        firings.push_back({head[i], first_place + i / K, value[i]});
      }
    }
  }

  /// Norms of what each of the layer's own heads writes, [B T, N].
  [[nodiscard]] at::Tensor head_norms(const at::Tensor& input_BTD) const {
    const kernels::Mhsa& layer = *study_.find_attention();
    std::vector<at::Tensor> norms;
    for (int64_t n = 0; n < layer.num_heads(); ++n) {
      const int64_t kv = n / (layer.num_heads() / layer.num_kv_heads());
      kernels::Mhsa head = layer;
      head.W_Q = layer.W_Q.narrow(0, n, 1);
      head.W_K = layer.W_K.narrow(0, kv, 1);
      head.W_V = layer.W_V.narrow(0, kv, 1);
      head.W_O = layer.W_O.narrow(0, n, 1);
      head.b_Q = layer.b_Q.defined() ? layer.b_Q.narrow(0, n, 1) : at::Tensor();
      head.b_K = layer.b_K.defined() ? layer.b_K.narrow(0, kv, 1) : at::Tensor();
      head.b_V = layer.b_V.defined() ? layer.b_V.narrow(0, kv, 1) : at::Tensor();
      head.b_O = at::Tensor();
      norms.push_back(at::linalg_vector_norm(kernels::mhsa_forward(head, input_BTD).flatten(0, 1),
                                             2, at::IntArrayRef{1}));
    }
    return at::stack(norms, 1);
  }

  /// Where the z-patterns of the best units' firings are largest.
  void count_sources() {
    own_source_.assign(best_.size(), 0);
    if (!has_patterns()) {
      return;
    }
    std::vector<std::vector<size_t>> rules_of_unit(
        static_cast<size_t>(dictionary_.shape().num_ov_heads));
    for (size_t rule = 0; rule < best_.size(); ++rule) {
      if (best_[rule].unit >= 0) {
        rules_of_unit[static_cast<size_t>(best_[rule].unit)].push_back(rule);
      }
    }
    std::map<int64_t, std::vector<const Firing*>> of_row;
    for (const Firing& firing : firings_) {
      if (!rules_of_unit[static_cast<size_t>(firing.unit)].empty()) {
        of_row[places_[static_cast<size_t>(firing.candidate)].row].push_back(&firing);
      }
    }
    std::vector<int64_t> rows;
    for (const auto& [row, unused] : of_row) {
      rows.push_back(row);
    }
    for_batches(rows, [&](const study::StudyBatch& batch) {
      std::vector<model::PatternQuery> queries;
      std::vector<const Firing*> asked;
      for (size_t b = 0; b < batch.stored().rows.size(); ++b) {
        for (const Firing* firing : of_row[batch.stored().rows[b]]) {
          const Place& place = places_[static_cast<size_t>(firing->candidate)];
          queries.push_back({static_cast<int64_t>(b), place.truth->position, firing->unit});
          asked.push_back(firing);
        }
      }
      const at::Tensor largest = dictionary_.z_patterns(batch.input_BTD, queries).argmax(1);
      for (size_t i = 0; i < asked.size(); ++i) {
        for (const size_t rule : rules_of_unit[static_cast<size_t>(asked[i]->unit)]) {
          account(rule, *asked[i], largest[static_cast<int64_t>(i)].item<int64_t>());
        }
      }
    });
  }

  void account(size_t rule, const Firing& firing, int64_t position) {
    if (firing.value <= best_[rule].threshold * best_[rule].maximum) {
      return;
    }
    ++num_asked_;
    bool any = false;
    for (const Truth::Application& application :
         places_[static_cast<size_t>(firing.candidate)].truth->applications) {
      const bool on_source = std::ranges::count(application.sources, position) > 0;
      any = any || on_source;
      own_source_[rule] += on_source && application.rule == static_cast<int64_t>(rule) ? 1 : 0;
    }
    any_source_ += any ? 1 : 0;
  }

  void summarize(RuleReport& report) const {
    int64_t firings = 0;
    int64_t on_source = 0;
    for (size_t rule = 0; rule < report.rules.size(); ++rule) {
      const RuleScore& score = report.rules[rule];
      report.mean_f1 += score.f1 / static_cast<double>(report.rules.size());
      report.mean_mhsa_f1 += score.mhsa_f1 / static_cast<double>(report.rules.size());
      if (score.f1 > kMatched) {
        ++report.num_above;
        firings += score.num_firings;
        on_source += own_source_[rule];
      }
    }
    report.source_share = has_patterns() ? ratio(on_source, firings) : kNone;
    report.any_source_share = has_patterns() ? ratio(any_source_, num_asked_) : kNone;
  }

  const study::Study& study_;
  const model::Dictionary& dictionary_;
  const Truth& truth_;
  std::vector<Place> places_;
  std::vector<Firing> firings_;
  std::vector<Firing> mhsa_firings_;
  std::vector<BestUnit> best_;
  std::vector<int64_t> own_source_;  // by rule
  int64_t any_source_ = 0;
  int64_t num_asked_ = 0;
};

}  // namespace

RuleReport score_rules(const study::Study& study, const std::filesystem::path& truth_file) {
  const at::NoGradGuard no_grad;
  study.require_members_of_cache();
  const data::CacheReader& cache = study.cache();
  const Truth truth = read_truth(truth_file);
  LORSA_CHECK(truth.layer == cache.manifest().site.layer &&
                  truth.context_length == cache.manifest().context_length,
              ConfigError,
              "{} speaks of layer {} and rows of {} tokens, but {} holds layer {} and rows of {}",
              truth_file, truth.layer, truth.context_length, cache.folder(),
              cache.manifest().site.layer, cache.manifest().context_length);
  Scorer scorer(study, truth);
  scorer.read();
  RuleReport report = scorer.report();
  report.checkpoint = study.members().front().name;
  return report;
}

io::Json to_json(const RuleReport& report) {
  io::Json json;
  json["checkpoint"] = report.checkpoint;
  json["num_candidates"] = report.num_candidates;
  json["mean_f1"] = report.mean_f1;
  json["mean_mhsa_f1"] = report.mean_mhsa_f1;
  json["num_above"] = report.num_above;
  json["source_share"] = io::finite_or_null(report.source_share);
  json["any_source_share"] = io::finite_or_null(report.any_source_share);
  json["rules"] = io::Json::array();
  for (const RuleScore& score : report.rules) {
    json["rules"].push_back({{"rule", score.rule},
                             {"num_positions", score.num_positions},
                             {"unit", score.unit},
                             {"threshold", score.threshold},
                             {"f1", score.f1},
                             {"num_firings", score.num_firings},
                             {"source_share", io::finite_or_null(score.source_share)},
                             {"mhsa_head", score.mhsa_head},
                             {"mhsa_f1", score.mhsa_f1}});
  }
  return json;
}

}  // namespace lorsa::experiments
