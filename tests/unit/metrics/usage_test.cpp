#include "lorsa/metrics/usage.h"

#include <ATen/ATen.h>

#include "lorsa/core/error.h"
#include "lorsa/io/safetensors.h"
#include "support/tensors.h"
#include "support/test.h"

using Catch::Matchers::WithinRel;
using lorsa::metrics::UsageMeter;
using lorsa::metrics::UsageReport;

namespace {

// One row of one entry for each (value, head); all scored.
UsageReport report_of(int64_t num_heads,
                      const std::vector<float>& values,
                      const std::vector<int>& heads) {
  UsageMeter meter(num_heads);
  const auto rows = static_cast<int64_t>(values.size());
  meter.add(at::tensor(values).reshape({rows, 1}), at::tensor(heads).reshape({rows, 1}),
            at::ones({rows}, at::kBool));
  return meter.report();
}

}  // namespace

TEST_CASE("usage agrees with numpy however the tokens are batched", "[metrics]") {
  const auto tokens = GENERATE(int64_t{1000}, int64_t{333}, int64_t{64});
  const lorsa::io::SafetensorsReader file(lorsa::test::golden("metrics/usage.safetensors"));
  const at::Tensor value = file.read("value");
  const at::Tensor head = file.read("head").to(at::kInt);
  const at::Tensor scored = file.read("scored").to(at::kBool);
  UsageMeter meter(64);
  for (int64_t i = 0; i < value.size(0); i += tokens) {
    meter.add(value.slice(0, i, i + tokens), head.slice(0, i, i + tokens),
              scored.slice(0, i, i + tokens));
  }
  const UsageReport report = meter.report();
  const auto number = [&](const std::string& key) { return file.read(key).item<double>(); };
  CHECK(report.num_tokens == file.read("num_tokens").item<int64_t>());
  CHECK_THAT(report.l0, WithinRel(number("l0"), 1e-12));
  CHECK_THAT(report.dead_fraction, WithinRel(number("dead_fraction"), 1e-12));
  CHECK_THAT(report.dense_fraction, WithinRel(number("dense_fraction"), 1e-12));
  CHECK(report.rare_fraction == number("rare_fraction"));
  CHECK(lorsa::test::relative_error(report.rate_H, file.read("rate")) < 1e-12);
  const at::Tensor counts = file.read("histogram_counts");
  REQUIRE(report.histogram_edges.size() == 15);
  CHECK(report.histogram_edges.front() == -7.0);
  CHECK(report.histogram_edges.back() == 0.0);
  REQUIRE(report.histogram_counts.size() == 14);
  for (int64_t bin = 0; bin < 14; ++bin) {
    CAPTURE(bin);
    CHECK(report.histogram_counts[static_cast<size_t>(bin)] == counts[bin].item<int64_t>());
  }
}

TEST_CASE("negative activations count and zeros do not", "[metrics]") {
  const UsageReport report = report_of(4, {1.0F, -1.0F, 0.0F, -0.0F}, {0, 1, 2, 3});
  CHECK(report.num_tokens == 4);
  CHECK(report.l0 == 0.5);
  CHECK(report.dead_fraction == 0.5);
  CHECK(report.dense_fraction == 0.5);
  CHECK(report.rate_H.equal(at::tensor({0.25, 0.25, 0.0, 0.0}, at::kDouble)));
}

TEST_CASE("tokens that are not scored leave no trace", "[metrics]") {
  UsageMeter meter(2);
  meter.add(at::ones({3, 1}), at::tensor({0, 1, 1}).reshape({3, 1}),
            at::tensor({1, 0, 0}).to(at::kBool));
  CHECK(meter.report().num_tokens == 1);
  CHECK(meter.report().l0 == 1.0);
  CHECK(meter.report().dead_fraction == 0.5);
}

TEST_CASE("rare heads are those below one in 100,000 that acted at all", "[metrics]") {
  // Head 0 in every token but the last three, head 1 twice, head 2 once, head 3 never.
  constexpr int64_t kTokens = 200'000;
  at::Tensor head = at::zeros({kTokens, 1}, at::kInt);
  head.slice(0, kTokens - 3, kTokens - 1).fill_(1);
  head.slice(0, kTokens - 1, kTokens).fill_(2);
  UsageMeter meter(4);
  meter.add(at::ones({kTokens, 1}), head, at::ones({kTokens}, at::kBool));
  const UsageReport report = meter.report();
  // 2 in 200,000 is the limit itself: not rare.
  CHECK(report.rare_fraction == 0.25);
  CHECK(report.dead_fraction == 0.25);
  CHECK(report.dense_fraction == 0.25);
  // Rates 5e-6 and 1e-5 lie in [-5.5, -5) and [-5, -4.5), nearly 1 in the last bin.
  CHECK(report.histogram_counts == std::vector<int64_t>{0, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1});
}

TEST_CASE("a head that always acts is in the last bin", "[metrics]") {
  const UsageReport report = report_of(2, {1.0F, 2.0F}, {1, 1});
  CHECK(report.histogram_counts.back() == 1);
  CHECK(report.rate_H[1].item<double>() == 1.0);
}

TEST_CASE("an empty window has only dead heads", "[metrics]") {
  UsageMeter meter(3);
  meter.add(at::ones({0, 2}), at::zeros({0, 2}, at::kInt), at::zeros({0}, at::kBool));
  const UsageReport report = meter.report();
  CHECK(report.num_tokens == 0);
  CHECK(report.dead_fraction == 1.0);
  CHECK(std::isnan(report.l0));
  CHECK(report.rate_H.isnan().all().item<bool>());
  CHECK(report.histogram_counts == std::vector<int64_t>(14, 0));
}

TEST_CASE("usage refuses tensors that do not fit", "[metrics]") {
  UsageMeter meter(2);
  const at::Tensor value = at::ones({3, 1});
  const at::Tensor head = at::zeros({3, 1}, at::kInt);
  const at::Tensor scored = at::ones({3}, at::kBool);
  CHECK_THROWS_AS(meter.add(value, at::zeros({3, 2}, at::kInt), scored), lorsa::ShapeError);
  CHECK_THROWS_AS(meter.add(value, head, at::ones({2}, at::kBool)), lorsa::ShapeError);
  CHECK_THROWS_AS(meter.add(value, head, at::ones({3})), lorsa::ShapeError);
  CHECK_THROWS_AS(meter.add(value, at::zeros({3, 1}), scored), lorsa::ShapeError);
  CHECK_THROWS_WITH(meter.add(value, head + 2, scored), "head 2 is outside [0, 2)");
  CHECK_THROWS_WITH(meter.add(value, head - 1, scored), "head -1 is outside [0, 2)");
  CHECK_THROWS_AS(UsageMeter(0), lorsa::ShapeError);
  CHECK(meter.report().num_tokens == 0);
}
