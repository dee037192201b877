#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "lorsa/analysis/head_contexts.h"
#include "support/test.h"

using namespace lorsa;
using analysis::ActivationBins;
using analysis::choose_strata;
using analysis::HeadCollector;
using analysis::HeadContext;

namespace {

std::vector<int64_t> histogram_of(const std::vector<float>& sizes) {
  std::vector<int64_t> histogram(ActivationBins::kCount);
  for (const float size : sizes) {
    ++histogram[static_cast<size_t>(ActivationBins::index(static_cast<double>(size)))];
  }
  return histogram;
}

/// Share of the sizes that are smaller than `size`.
double share_below(const std::vector<float>& sizes, float size) {
  const auto below = std::count_if(sizes.begin(), sizes.end(), [&](float s) { return s < size; });
  return static_cast<double>(below) / static_cast<double>(sizes.size());
}

std::vector<float> random_sizes(int64_t n) {
  const at::Tensor sizes = (at::randn({n}) * 0.8).exp();
  return {sizes.const_data_ptr<float>(), sizes.const_data_ptr<float>() + n};
}

/// Collects one head's values [R, T], 0 where it does not act; `batch_rows` rows at a time.
HeadCollector collected(const at::Tensor& value_RT,
                        const at::Tensor& scored_RT,
                        const analysis::CollectorOptions& options,
                        int64_t batch_rows) {
  HeadCollector collector(options);
  const int64_t R = value_RT.size(0);
  for (int64_t begin = 0; begin < R; begin += batch_rows) {
    const int64_t count = std::min(batch_rows, R - begin);
    kernels::TopK kept;
    kept.value_PK = value_RT.narrow(0, begin, count).reshape({-1, 1}).contiguous();
    kept.head_PK = at::zeros(kept.value_PK.sizes(), at::kInt);
    std::vector<int64_t> rows;
    for (int64_t row = begin; row < begin + count; ++row) {
      rows.push_back(row);
    }
    collector.add(kept, scored_RT.narrow(0, begin, count), rows);
  }
  return collector;
}

}  // namespace

TEST_CASE("strata of all activations are those of a sorted list", "[analysis]") {
  at::manual_seed(4);
  for (const int64_t n : {5, 13, 29, 30}) {
    std::vector<float> sizes = random_sizes(n);
    sizes[2] = sizes[0];  // a tie
    std::vector<HeadContext> candidates(sizes.size());
    for (size_t i = 0; i < sizes.size(); ++i) {
      candidates[i].value = i % 3 == 0 ? -sizes[i] : sizes[i];
      candidates[i].draw = (i * 7919) % 101;
    }
    const std::vector<HeadContext> chosen =
        choose_strata(std::move(candidates), histogram_of(sizes), 5);
    REQUIRE(chosen.size() == 5);
    std::vector<float> sorted = sizes;
    std::sort(sorted.begin(), sorted.end());
    for (int64_t i = 0; i < 5; ++i) {
      // The highest stratum comes first.
      const int64_t stratum = 4 - i;
      const HeadContext& context = chosen[static_cast<size_t>(i)];
      const float size = std::abs(context.value);
      REQUIRE(static_cast<double>(*context.quantile) == Approx(share_below(sizes, size)));
      const auto first = static_cast<size_t>((stratum * n + 4) / 5);
      const auto last = static_cast<size_t>(((stratum + 1) * n + 4) / 5 - 1);
      REQUIRE(size >= sorted[first]);
      REQUIRE(size <= sorted[last]);
    }
  }
}

TEST_CASE("of few activations every one is a quantile context", "[analysis]") {
  const std::vector<float> sizes = {3.0F, 1.0F, 2.0F};
  std::vector<HeadContext> candidates(3);
  for (size_t i = 0; i < 3; ++i) {
    candidates[i].value = sizes[i];
  }
  const auto chosen = choose_strata(candidates, histogram_of(sizes), 8);
  REQUIRE(chosen.size() == 3);
  REQUIRE(chosen[0].value == 3.0F);
  REQUIRE(static_cast<double>(*chosen[0].quantile) == Approx(2.0 / 3.0));
  REQUIRE(chosen[2].value == 1.0F);
  REQUIRE(static_cast<double>(*chosen[2].quantile) == 0.0);
  REQUIRE(choose_strata({}, histogram_of({}), 8).empty());
}

TEST_CASE("a sample's strata and quantiles are near those of all activations", "[analysis]") {
  at::manual_seed(6);
  const at::Tensor value_RT = (at::randn({80, 50}) * 0.8).exp();
  const std::vector<float> sizes(value_RT.const_data_ptr<float>(),
                                 value_RT.const_data_ptr<float>() + value_RT.numel());
  double error = 0.0;
  const int64_t num_seeds = 40;
  for (int64_t seed = 0; seed < num_seeds; ++seed) {
    HeadCollector collector = collected(value_RT, at::ones({80, 50}, at::kBool),
                                        {1, 1, 8, 5, 0, static_cast<uint64_t>(seed)}, 16);
    const std::vector<HeadContext> contexts = collector.take_contexts(0);
    REQUIRE(contexts.size() == 6);
    for (size_t i = 1; i < 6; ++i) {
      REQUIRE(contexts[i].sample == "quantile");
      REQUIRE(value_RT[contexts[i].row][contexts[i].position].item<float>() == contexts[i].value);
      const double share = share_below(sizes, contexts[i].value);
      const double stratum = 5.0 - static_cast<double>(i);
      REQUIRE(share > (stratum - 0.6) / 5.0);
      REQUIRE(share < (stratum + 1.6) / 5.0);
      error += std::abs(share - static_cast<double>(*contexts[i].quantile));
    }
  }
  REQUIRE(error / (5.0 * num_seeds) < 0.03);
}

TEST_CASE("every activation is drawn equally often", "[analysis]") {
  at::manual_seed(7);
  const int64_t num_seeds = 4000;
  const at::Tensor value_RT = at::rand({4, 10}) + 0.5;
  std::map<std::pair<int64_t, int64_t>, int64_t> times;
  for (int64_t seed = 0; seed < num_seeds; ++seed) {
    HeadCollector collector = collected(value_RT, at::ones({4, 10}, at::kBool),
                                        {1, 0, 4, 1, 0, static_cast<uint64_t>(seed)}, 4);
    const std::vector<HeadContext> contexts = collector.take_contexts(0);
    REQUIRE(contexts.size() == 1);
    ++times[{contexts[0].row, contexts[0].position}];
  }
  // 100 times each; a deviation of 45 is one of 4.5 standard deviations.
  REQUIRE(times.size() == 40);
  for (const auto& [place, count] : times) {
    REQUIRE(std::abs(count - 100) < 45);
  }
}

TEST_CASE("non-firing windows hold no activation and lie around scored tokens", "[analysis]") {
  at::manual_seed(8);
  const int64_t R = 40;
  const int64_t T = 24;
  const at::Tensor acts_RT = at::rand({R, T}) < 0.12;
  const at::Tensor value_RT = at::where(acts_RT, at::rand({R, T}) + 0.1, at::zeros({R, T}));
  const at::Tensor scored_RT = at::rand({R, T}) < 0.6;
  HeadCollector collector = collected(value_RT, scored_RT, {1, 3, 6, 0, 7, 1}, 8);
  const std::vector<HeadContext> contexts = collector.take_contexts(0);
  REQUIRE(contexts.size() == 3 + 7);
  std::set<int64_t> rows;
  int64_t in_acting_rows = 0;
  for (size_t i = 3; i < contexts.size(); ++i) {
    const HeadContext& c = contexts[i];
    REQUIRE(c.sample == "non_firing");
    REQUIRE(c.value == 0.0F);
    REQUIRE(scored_RT[c.row][c.position].item<bool>());
    REQUIRE(c.first == analysis::window_start(c.position, 6, T));
    REQUIRE(c.activations == std::vector<float>(6, 0.0F));
    REQUIRE(value_RT[c.row].narrow(0, c.first, 6).count_nonzero().item<int64_t>() == 0);
    rows.insert(c.row);
    in_acting_rows += value_RT[c.row].count_nonzero().item<int64_t>() > 0 ? 1 : 0;
  }
  REQUIRE(rows.size() == 7);
  REQUIRE(in_acting_rows > 0);
}

TEST_CASE("a head that acts everywhere has no non-firing windows", "[analysis]") {
  HeadCollector collector =
      collected(at::ones({6, 9}), at::ones({6, 9}, at::kBool), {1, 2, 4, 0, 3, 0}, 2);
  REQUIRE(collector.take_contexts(0).size() == 2);
}

TEST_CASE("what is drawn does not depend on batches but on the seed", "[analysis]") {
  at::manual_seed(9);
  const at::Tensor value_RT =
      at::where(at::rand({50, 20}) < 0.2, at::rand({50, 20}) + 0.1, at::zeros({50, 20}));
  const at::Tensor scored_RT = at::rand({50, 20}) < 0.8;
  const auto places = [&](uint64_t seed, int64_t batch_rows) {
    HeadCollector collector = collected(value_RT, scored_RT, {1, 4, 6, 5, 3, seed}, batch_rows);
    std::vector<std::pair<int64_t, int64_t>> out;
    for (const HeadContext& context : collector.take_contexts(0)) {
      out.emplace_back(context.row, context.position);
    }
    return out;
  };
  REQUIRE(places(1, 50).size() == 12);
  REQUIRE(places(1, 50) == places(1, 7));
  REQUIRE(places(1, 50) != places(2, 50));
}
