#include <ATen/ATen.h>

#include <algorithm>
#include <map>
#include <set>

#include "lorsa/analysis/head_contexts.h"
#include "lorsa/core/error.h"
#include "support/test.h"

using namespace lorsa;
using analysis::ActivationBins;
using analysis::HeadCollector;
using analysis::HeadContext;

namespace {

constexpr int64_t kHeads = 11;
constexpr int64_t kContexts = 3;
constexpr int64_t kWindow = 5;

/// Random kept heads: few sizes, so that ties are many; some zeros, some negative.
struct Rows {
  kernels::TopK kept;
  at::Tensor scored_BT;
  std::vector<int64_t> numbers;
};

Rows random_rows(int64_t B, int64_t T, int64_t K, int64_t first) {
  Rows rows;
  const at::Tensor order = at::rand({B * T, kHeads}).argsort(int64_t{1});
  rows.kept.head_PK = order.narrow(1, 0, K).to(at::kInt).contiguous();
  rows.kept.value_PK = at::randint(-3, 8, {B * T, K}).to(at::kFloat) * 0.25F;
  rows.scored_BT = at::rand({B, T}) < 0.7;
  for (int64_t b = 0; b < B; ++b) {
    rows.numbers.push_back(first + b);
  }
  return rows;
}

/// All activations of a batch as [B, T, H].
at::Tensor dense(const Rows& rows) {
  const int64_t P = rows.kept.head_PK.size(0);
  return at::zeros({P, kHeads})
      .scatter_(1, rows.kept.head_PK.to(at::kLong), rows.kept.value_PK)
      .view({rows.scored_BT.size(0), rows.scored_BT.size(1), kHeads});
}

struct Peak {
  float strength;
  int64_t row;
  int64_t position;
};

}  // namespace

TEST_CASE("the collector counts, bins and ranks like a loop over everything", "[analysis]") {
  at::manual_seed(3);
  const int64_t T = 9;
  HeadCollector collector({kHeads, kContexts, kWindow});
  std::vector<at::Tensor> all;
  std::vector<at::Tensor> scored;
  for (int64_t first = 0; first < 12; first += 4) {
    const Rows rows = random_rows(4, T, 4, first);
    collector.add(rows.kept, rows.scored_BT, rows.numbers);
    all.push_back(dense(rows));
    scored.push_back(rows.scored_BT);
  }
  const at::Tensor a_RTH = at::cat(all);
  const at::Tensor scored_RT = at::cat(scored);
  REQUIRE(collector.num_tokens() == 12 * T);
  REQUIRE(collector.num_scored_tokens() == scored_RT.sum().item<int64_t>());

  std::vector<int64_t> counts;
  for (int64_t h = 0; h < kHeads; ++h) {
    const at::Tensor values =
        a_RTH.select(2, h).masked_select(scored_RT.logical_and(a_RTH.select(2, h) != 0)).abs();
    REQUIRE(collector.usage(h).count == values.numel());
    REQUIRE(collector.usage(h).max == Approx(values.max().item<double>()));
    REQUIRE(collector.usage(h).sum == Approx(values.sum().item<double>()));
    REQUIRE(collector.rate(h) ==
            Approx(static_cast<double>(values.numel()) / scored_RT.sum().item<double>()));
    const std::vector<int64_t> histogram = collector.histogram(h);
    for (int bin = 0; bin < ActivationBins::kCount; ++bin) {
      const auto inside = (values >= ActivationBins::edge(bin) * (1 - 1e-9))
                              .logical_and(values < ActivationBins::edge(bin + 1) * (1 - 1e-9));
      REQUIRE(histogram[static_cast<size_t>(bin)] == inside.sum().item<int64_t>());
    }
    counts.push_back(values.numel());
  }
  REQUIRE(*std::min_element(counts.begin(), counts.end()) > 15);

  for (int64_t h = 0; h < kHeads; ++h) {
    std::vector<Peak> peaks;
    for (int64_t r = 0; r < 12; ++r) {
      Peak best{0.0F, r, -1};
      for (int64_t t = 0; t < T; ++t) {
        const float strength = std::abs(a_RTH[r][t][h].item<float>());
        if (scored_RT[r][t].item<bool>() && strength > best.strength) {
          best = {strength, r, t};
        }
      }
      peaks.push_back(best);
    }
    std::stable_sort(peaks.begin(), peaks.end(),
                     [](const Peak& a, const Peak& b) { return a.strength > b.strength; });
    const auto found = collector.take_contexts(h);
    REQUIRE(found.size() == kContexts);
    for (size_t i = 0; i < kContexts; ++i) {
      REQUIRE(found[i].row == peaks[i].row);
      REQUIRE(found[i].position == peaks[i].position);
      REQUIRE(std::abs(found[i].value) == peaks[i].strength);
      REQUIRE(found[i].activations.size() == kWindow);
      for (int64_t j = 0; j < kWindow; ++j) {
        const float expected = a_RTH[found[i].row][found[i].first + j][h].item<float>();
        REQUIRE(found[i].activations[static_cast<size_t>(j)] == expected);
      }
    }
  }
}

TEST_CASE("unscored tokens neither count nor peak but show in windows", "[analysis]") {
  HeadCollector collector({2, 4, 4});
  kernels::TopK kept;
  kept.head_PK = at::ones({3, 1}, at::kInt);
  kept.value_PK = at::tensor({9.0F, 1.0F, 2.0F}).view({3, 1});
  const at::Tensor scored = at::tensor({0, 1, 1}).view({1, 3}).to(at::kBool);
  collector.add(kept, scored, {7});
  REQUIRE(collector.usage(0).count == 0);
  REQUIRE(collector.usage(1).count == 2);
  REQUIRE(collector.usage(1).max == 2.0);
  REQUIRE(collector.take_contexts(0).empty());
  const auto contexts = collector.take_contexts(1);
  REQUIRE(contexts.size() == 1);
  REQUIRE(contexts[0].row == 7);
  REQUIRE(contexts[0].position == 2);
  // The window is no longer than the row.
  REQUIRE(contexts[0].activations == std::vector<float>{9.0F, 1.0F, 2.0F});
}

TEST_CASE("kept heads, scored tokens and rows must belong together", "[analysis]") {
  HeadCollector collector({2, 4, 4});
  const kernels::TopK kept{at::ones({6, 1}), at::zeros({6, 1}, at::kInt)};
  REQUIRE_THROWS_AS(collector.add(kept, at::ones({2, 4}, at::kBool), {0, 1}), ShapeError);
  REQUIRE_THROWS_AS(collector.add(kept, at::ones({2, 3}, at::kBool), {0}), ShapeError);
  REQUIRE_NOTHROW(collector.add(kept, at::ones({2, 3}, at::kBool), {0, 1}));
}

TEST_CASE("bins cover every size and edges lie in the bin above", "[analysis]") {
  REQUIRE(ActivationBins::index(1e-30) == 0);
  REQUIRE(ActivationBins::index(1e30) == ActivationBins::kCount - 1);
  REQUIRE(ActivationBins::edge(0) == std::exp2(-16.0));
  REQUIRE(ActivationBins::edge(4) == std::exp2(-15.0));
  for (int bin = 0; bin < ActivationBins::kCount; ++bin) {
    REQUIRE(ActivationBins::index(ActivationBins::edge(bin) * 1.0001) == bin);
  }
}

TEST_CASE("a window holds its peak and stays inside the row", "[analysis]") {
  for (const int64_t size : {1, 2, 5, 8, 20}) {
    for (int32_t peak = 0; peak < 20; ++peak) {
      const int32_t first = analysis::window_start(peak, size, 20);
      REQUIRE(first >= 0);
      REQUIRE(first + size <= 20);
      REQUIRE(first <= peak);
      REQUIRE(peak < first + size);
    }
  }
  // Three quarters before the peak.
  REQUIRE(analysis::window_start(50, 8, 100) == 45);
}
