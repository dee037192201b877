#include "lorsa/experiments/rule_scores.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "lorsa/core/error.h"
#include "lorsa/data/cache_reader.h"
#include "lorsa/io/files.h"
#include "measured_setup.h"
#include "support/throws.h"

using namespace lorsa;

namespace {

constexpr int64_t kRows = 40;

/// Rule 0 applies at position 15 of every other held-out row and reads positions 3 and 4, rule 1 at
/// position 9 of all and reads position 9.
io::Json made_truth() {
  io::Json truth{{"schema", 1}, {"layer", 1}, {"context_length", 16}, {"rules", {"even", "all"}}};
  truth["rows"] = io::Json::array();
  for (int64_t row = 4; row < kRows; row += 5) {
    io::Json applications = io::Json::array({io::Json::array({1, 9, io::Json::array({9})})});
    if (row % 2 == 0) {
      applications.push_back(io::Json::array({0, 15, io::Json::array({3, 4})}));
    }
    truth["rows"].push_back(
        {{"document", row}, {"candidates", {9, 15}}, {"applications", applications}});
  }
  return truth;
}

struct Setup {
  test::TempDir dir;
  std::filesystem::path cache = dir / "cache";
  std::filesystem::path checkpoint = dir / "lorsa";
  std::filesystem::path truth = dir / "truth.json";
  model::Dictionary dictionary = test::random_lorsa(7);

  Setup() {
    test::write_tiny_cache(cache, kRows);
    test::save_for_tiny_cache(checkpoint, dictionary);
    io::write_json(truth, made_truth());
  }

  [[nodiscard]] experiments::RuleReport score() const {
    return experiments::score_rules(test::study_of(cache, {checkpoint}), truth);
  }
};

/// A unit's activation and the place of its largest z, one row and position at a time.
std::pair<double, int64_t> asked(const model::Dictionary& dictionary,
                                 const at::Tensor& x_1TD,
                                 int64_t position,
                                 int64_t unit) {
  const auto kept = dictionary.reconstruct(x_1TD).kept;
  for (int64_t k = 0; k < kept.head_PK.size(1); ++k) {
    if (kept.head_PK[position][k].item<int64_t>() == unit) {
      const at::Tensor z = dictionary.z_patterns(x_1TD, {{0, position, unit}});
      return {kept.value_PK[position][k].item<double>(), z.argmax(1).item<int64_t>()};
    }
  }
  return {0.0, -1};
}

}  // namespace

TEST_CASE("scores of rules are those of a reading position by position", "[experiments]") {
  const Setup setup;
  const experiments::RuleReport report = setup.score();
  REQUIRE(report.num_candidates == 16);
  REQUIRE(report.rules.size() == 2);
  const data::CacheReader cache(setup.cache);
  for (size_t rule = 0; rule < 2; ++rule) {
    const experiments::RuleScore& score = report.rules[rule];
    REQUIRE(score.unit >= 0);
    double largest = 0.0;
    std::vector<std::tuple<double, bool, bool>> seen;  // value, applies, on a source
    for (const int64_t row : cache.rows(data::Side::kHeldout)) {
      const at::Tensor x_1TD = cache.read({row}).input_BTD;
      for (const int64_t position : {9, 15}) {
        const auto [value, source] = asked(setup.dictionary, x_1TD, position, score.unit);
        const bool applies = rule == 0 ? position == 15 && row % 2 == 0 : position == 9;
        const bool on_source = rule == 0 ? source == 3 || source == 4 : source == 9;
        seen.emplace_back(value, applies, on_source);
        largest = std::max(largest, value);
      }
    }
    int64_t fired = 0, hits = 0, applications = 0, on_source = 0;
    for (const auto& [value, applies, reads_source] : seen) {
      const bool on = value > score.threshold * largest && value > 0.0;
      fired += on ? 1 : 0;
      applications += applies ? 1 : 0;
      hits += on && applies ? 1 : 0;
      on_source += on && applies && reads_source ? 1 : 0;
    }
    REQUIRE(score.num_positions == applications);
    REQUIRE(score.num_firings == fired);
    REQUIRE(score.f1 ==
            Approx(2.0 * static_cast<double>(hits) / static_cast<double>(fired + applications)));
    REQUIRE(score.source_share ==
            Approx(static_cast<double>(on_source) / static_cast<double>(fired)));
  }
  REQUIRE(report.mean_f1 == Approx((report.rules[0].f1 + report.rules[1].f1) / 2.0));
}

TEST_CASE("the layer's own heads are scored by the norms of what each writes", "[experiments]") {
  const Setup setup;
  const experiments::RuleReport report = setup.score();
  // Every head writes everywhere, so that only thresholds tell positions apart: compare with the
  // norms of the whole layer's output with the other heads' W_O at zero.
  const data::CacheReader cache(setup.cache);
  const int64_t head = report.rules[1].mhsa_head;
  kernels::Mhsa alone = cache.attention();
  alone.W_O = alone.W_O.clone();
  for (int64_t n = 0; n < 3; ++n) {
    if (n != head) {
      alone.W_O[n].zero_();
    }
  }
  std::vector<double> at_nine, all;
  for (const int64_t row : cache.rows(data::Side::kHeldout)) {
    const at::Tensor norm_T =
        kernels::mhsa_forward(alone, cache.read({row}).input_BTD).norm(2, -1)[0];
    at_nine.push_back(norm_T[9].item<double>());
    all.insert(all.end(), {at_nine.back(), norm_T[15].item<double>()});
  }
  double best = 0.0;
  for (const double threshold : {0.0, 0.1, 0.25, 0.5}) {
    const double limit = threshold * *std::ranges::max_element(all);
    const auto above = [&](double value) { return value > limit; };
    const auto hits = static_cast<double>(std::ranges::count_if(at_nine, above));
    const auto fired = static_cast<double>(std::ranges::count_if(all, above));
    best = std::max(best, 2.0 * hits / (fired + static_cast<double>(at_nine.size())));
  }
  REQUIRE(report.rules[1].mhsa_f1 == Approx(best));
}

TEST_CASE("a truth of another layer, context or corpus is refused", "[experiments]") {
  const Setup setup;
  const auto refusal = [&](const io::Json& truth) {
    io::write_json(setup.truth, truth);
    return test::message_of<ConfigError>([&] { static_cast<void>(setup.score()); });
  };
  io::Json other = made_truth();
  other["layer"] = 0;
  test::require_parts(refusal(other), {"speaks of layer 0", "holds layer 1"});
  other = made_truth();
  other["rows"].erase(other["rows"].begin());
  test::require_parts(refusal(other), {"document 4", "not in the truth file"});
  other = made_truth();
  other["rows"][0]["applications"][0][0] = 2;
  io::write_json(setup.truth, other);
  test::require_parts(test::message_of<FormatError>([&] { static_cast<void>(setup.score()); }),
                      {"document 4", "names no rule"});
}
