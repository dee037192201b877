#include "lorsa/experiments/stability.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <tuple>
#include <vector>

#include "experiments/head_activity.h"
#include "lorsa/core/error.h"

namespace lorsa::experiments {
namespace {

constexpr int64_t kBlockHeads = 256;
constexpr int64_t kBins = 20;

struct Pair {
  double match = 0.0;
  int64_t first = 0;
  int64_t second = 0;
};

/// Rows of W_O at `heads`, unit-norm; a row of zeros stays one. [heads, D] double on the CPU.
at::Tensor directions(const model::Dictionary& dictionary, const std::vector<int64_t>& heads) {
  const at::Tensor rows_hD = dictionary.weights()
                                 .W_O.to(at::kCPU, at::kDouble)
                                 .index_select(0, at::tensor(heads, at::kLong));
  return rows_hD / at::linalg_vector_norm(rows_hD, 2, at::IntArrayRef{1}, true).clamp_min(1e-300);
}

/// The best of every acting head, and all pairs above the threshold.
class Matcher {
 public:
  Matcher(const HeadActivity& first, const HeadActivity& second, double threshold)
      : first_(first), second_(second), threshold_(threshold) {
    best_first_.resize(first.acting().size());
    cosine_.resize(first.acting().size());
    correlation_.resize(first.acting().size());
    best_second_.resize(second.acting().size());
  }

  void run(const at::Tensor& first_hD, const at::Tensor& second_hD) {
    const auto num_heads = static_cast<int64_t>(first_.acting().size());
    for (int64_t from = 0; from < num_heads; from += kBlockHeads) {
      const int64_t count = std::min(kBlockHeads, num_heads - from);
      const at::Tensor cosine_hg =
          at::mm(first_hD.narrow(0, from, count), second_hD.t()).contiguous();
      for (int64_t h = 0; h < count; ++h) {
        take(static_cast<size_t>(from + h), cosine_hg[h].data_ptr<double>());
      }
    }
  }

  void fill(StabilityReport& report) {
    const auto share_above = [&](const std::vector<double>& values) {
      const auto above =
          std::count_if(values.begin(), values.end(), [&](double v) { return v > threshold_; });
      return static_cast<double>(above) / static_cast<double>(values.size());
    };
    report.share_first = share_above(best_first_);
    report.share_second = share_above(best_second_);
    report.share_direction = share_above(cosine_);
    report.share_firing = share_above(correlation_);
    report.share_one_to_one = 2.0 * static_cast<double>(num_one_to_one()) /
                              static_cast<double>(report.num_heads_first + report.num_heads_second);
    report.histogram.assign(kBins, 0);
    double sum = 0.0;
    for (const double match : best_first_) {
      sum += match;
      const auto bin = static_cast<int64_t>(match * static_cast<double>(kBins));
      ++report.histogram[static_cast<size_t>(std::min(bin, kBins - 1))];
    }
    report.mean_match = sum / static_cast<double>(best_first_.size());
  }

 private:
  // `h` counts the first's acting heads; cosine[g] of every acting head of the second.
  void take(size_t h, const double* cosine) {
    second_.correlations(first_, first_.acting()[h], row_);
    for (size_t g = 0; g < row_.size(); ++g) {
      const double match = std::min(cosine[g], row_[g]);
      best_first_[h] = std::max(best_first_[h], match);
      best_second_[g] = std::max(best_second_[g], match);
      cosine_[h] = std::max(cosine_[h], cosine[g]);
      correlation_[h] = std::max(correlation_[h], row_[g]);
      if (match > threshold_) {
        pairs_.push_back({match, static_cast<int64_t>(h), static_cast<int64_t>(g)});
      }
    }
  }

  int64_t num_one_to_one() {
    std::sort(pairs_.begin(), pairs_.end(), [](const Pair& a, const Pair& b) {
      return std::tuple(-a.match, a.first, a.second) < std::tuple(-b.match, b.first, b.second);
    });
    std::vector<bool> taken_first(best_first_.size()), taken_second(best_second_.size());
    int64_t count = 0;
    for (const Pair& pair : pairs_) {
      const auto a = static_cast<size_t>(pair.first), b = static_cast<size_t>(pair.second);
      if (!taken_first[a] && !taken_second[b]) {
        taken_first[a] = taken_second[b] = true;
        ++count;
      }
    }
    return count;
  }

  const HeadActivity& first_;
  const HeadActivity& second_;
  double threshold_;
  std::vector<double> row_;
  std::vector<double> best_first_, best_second_, cosine_, correlation_;  // at least 0
  std::vector<Pair> pairs_;
};

}  // namespace

StabilityReport match_heads(const study::Study& study,
                            const study::PassOptions& pass,
                            double threshold) {
  LORSA_CHECK(threshold >= 0.0 && threshold < 1.0, ConfigError,
              "threshold: expected a number in [0, 1), found {}", threshold);
  const std::vector<study::Member>& members = study.members();
  LORSA_CHECK(members.size() == 2, ConfigError, "expected two members, not {}", members.size());
  study.require_members_of_cache();
  const model::Dictionary& a = members[0].dictionary;
  const model::Dictionary& b = members[1].dictionary;
  LORSA_CHECK(a.shape().kind == b.shape().kind, ConfigError,
              "{} and {} are {} and {}: heads of one kind are matched with each other",
              members[0].name, members[1].name, a.info().noun, b.info().noun);
  const std::vector<int64_t> rows = study::heldout_rows(study.cache(), pass.max_rows);
  HeadActivity of_a(a.shape().num_ov_heads);
  HeadActivity of_b(b.shape().num_ov_heads);
  study::for_each_batch(study, "match heads", rows, pass, [&](const study::StudyBatch& batch) {
    const at::Tensor scored_P = batch.stored().scored_BT.reshape({-1});
    for (const auto& [activity, member] : {std::tuple(&of_a, size_t{0}), {&of_b, size_t{1}}}) {
      const kernels::TopK& kept = batch.output(member).kept;
      activity->add(kept.value_PK.cpu(), kept.head_PK.cpu(), scored_P);
    }
  });
  of_a.finish();
  of_b.finish();
  for (const auto& [activity, member] : {std::tie(of_a, members[0]), std::tie(of_b, members[1])}) {
    LORSA_CHECK(!activity.acting().empty(), ConfigError,
                "{}: no head acts on {} held-out rows of {}", member.name, rows.size(),
                study.cache().folder());
  }
  StabilityReport report;
  report.first = members[0].name;
  report.second = members[1].name;
  report.num_tokens = of_a.num_tokens();
  report.num_heads_first = static_cast<int64_t>(of_a.acting().size());
  report.num_heads_second = static_cast<int64_t>(of_b.acting().size());
  report.threshold = threshold;
  Matcher matcher(of_a, of_b, threshold);
  matcher.run(directions(a, of_a.acting()), directions(b, of_b.acting()));
  matcher.fill(report);
  return report;
}

io::Json to_json(const StabilityReport& r) {
  return {{"first", r.first},
          {"second", r.second},
          {"num_tokens", r.num_tokens},
          {"num_heads_first", r.num_heads_first},
          {"num_heads_second", r.num_heads_second},
          {"threshold", r.threshold},
          {"share_first", r.share_first},
          {"share_second", r.share_second},
          {"share_one_to_one", r.share_one_to_one},
          {"share_direction", r.share_direction},
          {"share_firing", r.share_firing},
          {"mean_match", r.mean_match},
          {"histogram", r.histogram}};
}

}  // namespace lorsa::experiments
