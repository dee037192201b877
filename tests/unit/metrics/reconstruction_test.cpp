#include "lorsa/metrics/reconstruction.h"

#include <ATen/ATen.h>

#include "lorsa/core/error.h"
#include "lorsa/io/safetensors.h"
#include "support/tensors.h"
#include "support/test.h"

using Catch::Matchers::WithinRel;
using lorsa::metrics::ReconstructionMeter;
using lorsa::metrics::ReconstructionReport;
using lorsa::test::relative_error;

namespace {

constexpr double kTolerance = 1e-6;

struct Case {
  at::Tensor y, t, scored;
  ReconstructionReport expected;
};

// A case of scripts/golden/metrics.py.
Case golden_case(const std::string& name) {
  const lorsa::io::SafetensorsReader file(
      lorsa::test::golden("metrics/reconstruction.safetensors"));
  const auto number = [&](const std::string& key) {
    return file.read(name + "." + key).item<double>();
  };
  Case result;
  result.y = file.read(name + ".y");
  result.t = file.read(name + ".t");
  result.scored = file.read(name + ".scored").to(at::kBool);
  result.expected.num_tokens = file.read(name + ".num_tokens").item<int64_t>();
  result.expected.fvu = number("fvu");
  result.expected.mse = number("mse");
  result.expected.l2_error_ratio = number("l2_error_ratio");
  result.expected.cosine = number("cosine");
  result.expected.fvu_per_position = file.read(name + ".fvu_per_position");
  return result;
}

void check_close(const ReconstructionReport& found, const ReconstructionReport& expected) {
  CHECK(found.num_tokens == expected.num_tokens);
  CHECK_THAT(found.fvu, WithinRel(expected.fvu, kTolerance));
  CHECK_THAT(found.explained_variance, WithinRel(1.0 - expected.fvu, kTolerance));
  CHECK_THAT(found.mse, WithinRel(expected.mse, kTolerance));
  CHECK_THAT(found.l2_error_ratio, WithinRel(expected.l2_error_ratio, kTolerance));
  CHECK_THAT(found.cosine, WithinRel(expected.cosine, kTolerance));
  const at::Tensor nan_T = expected.fvu_per_position.isnan();
  REQUIRE(found.fvu_per_position.sizes() == nan_T.sizes());
  CHECK(found.fvu_per_position.isnan().equal(nan_T));
  const at::Tensor some_T = nan_T.logical_not();
  CHECK(relative_error(found.fvu_per_position.masked_select(some_T),
                       expected.fvu_per_position.masked_select(some_T)) < kTolerance);
}

}  // namespace

TEST_CASE("reconstruction metrics agree with numpy however the rows are batched", "[metrics]") {
  const auto* const name = GENERATE("plain", "offset", "holes");
  const auto rows = GENERATE(int64_t{1}, int64_t{2}, int64_t{4}, int64_t{6});
  CAPTURE(name, rows);
  const Case c = golden_case(name);
  ReconstructionMeter meter(c.t.size(1), c.t.size(2));
  for (int64_t row = 0; row < c.t.size(0); row += rows) {
    meter.add(c.y.slice(0, row, row + rows), c.t.slice(0, row, row + rows),
              c.scored.slice(0, row, row + rows));
  }
  check_close(meter.report(), c.expected);
}

TEST_CASE("reconstruction metrics take strided views and other float types", "[metrics]") {
  const Case c = golden_case("plain");
  ReconstructionMeter strided(c.t.size(1), c.t.size(2));
  const auto restride = [](const at::Tensor& x) {
    return x.transpose(0, 1).contiguous().transpose(0, 1);
  };
  strided.add(restride(c.y), restride(c.t), restride(c.scored));
  check_close(strided.report(), c.expected);
  ReconstructionMeter in_double(c.t.size(1), c.t.size(2));
  in_double.add(c.y, c.t.to(at::kDouble), c.scored);
  check_close(in_double.report(), c.expected);
  // bfloat16 batches are taken at their own values, not at a rounded sum.
  const at::Tensor y_rounded = c.y.to(at::kBFloat16);
  const at::Tensor t_rounded = c.t.to(at::kBFloat16);
  ReconstructionMeter low(c.t.size(1), c.t.size(2));
  ReconstructionMeter same_values(c.t.size(1), c.t.size(2));
  low.add(y_rounded, t_rounded, c.scored);
  same_values.add(y_rounded.to(at::kFloat), t_rounded.to(at::kFloat), c.scored);
  CHECK(low.report().fvu == same_values.report().fvu);
  CHECK(low.report().fvu != in_double.report().fvu);
}

TEST_CASE("rows longer than a block give the same metrics as short ones", "[metrics]") {
  // 400,000 elements a row: several blocks along the positions.
  at::manual_seed(5);
  const at::Tensor t = at::randn({2, 100, 4000}) + 3.0;
  const at::Tensor y = t + 0.5 * at::randn({2, 100, 4000});
  const at::Tensor scored = at::rand({2, 100}) < 0.9;
  ReconstructionMeter meter(100, 4000);
  meter.add(y, t, scored);
  const at::Tensor ys = y.index({scored}).to(at::kDouble);
  const at::Tensor ts = t.index({scored}).to(at::kDouble);
  const double expected =
      ((ts - ys).square().sum() / (ts - ts.mean(0)).square().sum()).item<double>();
  CHECK_THAT(meter.report().fvu, WithinRel(expected, 1e-9));
  CHECK(meter.report().num_tokens == scored.sum().item<int64_t>());
}

TEST_CASE("fvu at some positions agrees with numpy, the mean taken there", "[metrics]") {
  const auto* const name = GENERATE("plain", "offset", "holes");
  CAPTURE(name);
  const Case c = golden_case(name);
  ReconstructionMeter meter(c.t.size(1), c.t.size(2));
  meter.add(c.y, c.t, c.scored);
  const lorsa::io::SafetensorsReader file(
      lorsa::test::golden("metrics/reconstruction.safetensors"));
  const auto expected = file.read(std::string(name) + ".fvu_of_2_to_4").item<double>();
  CHECK_THAT(meter.fvu_of_positions(2, 3), WithinRel(expected, kTolerance));
  CHECK(meter.fvu_of_positions(0, c.t.size(1)) == meter.report().fvu);
  CHECK_THROWS_AS(meter.fvu_of_positions(7, 3), lorsa::ShapeError);
  CHECK_THROWS_AS(meter.fvu_of_positions(-1, 3), lorsa::ShapeError);
  CHECK_THROWS_AS(meter.fvu_of_positions(3, 0), lorsa::ShapeError);
}

TEST_CASE("a perfect reconstruction has no error and the mean has all of it", "[metrics]") {
  at::manual_seed(6);
  const at::Tensor t = at::randn({4, 5, 7}, at::kDouble);
  const at::Tensor scored = at::ones({4, 5}, at::kBool);
  ReconstructionMeter perfect(5, 7);
  perfect.add(t, t.clone(), scored);
  CHECK(perfect.report().fvu == 0.0);
  CHECK(perfect.report().explained_variance == 1.0);
  CHECK(perfect.report().l2_error_ratio == 0.0);
  CHECK_THAT(perfect.report().cosine, WithinRel(1.0, 1e-12));
  ReconstructionMeter mean(5, 7);
  mean.add(t.mean(at::IntArrayRef{0, 1}).expand_as(t), t, scored);
  CHECK_THAT(mean.report().fvu, WithinRel(1.0, 1e-12));
}

TEST_CASE("without scored tokens every ratio is NaN", "[metrics]") {
  ReconstructionMeter meter(3, 2);
  meter.add(at::zeros({2, 3, 2}), at::ones({2, 3, 2}), at::zeros({2, 3}, at::kBool));
  meter.add(at::zeros({0, 3, 2}), at::ones({0, 3, 2}), at::zeros({0, 3}, at::kBool));
  const ReconstructionReport report = meter.report();
  CHECK(report.num_tokens == 0);
  CHECK(std::isnan(report.fvu));
  CHECK(std::isnan(report.mse));
  CHECK(std::isnan(report.l2_error_ratio));
  CHECK(std::isnan(report.cosine));
  CHECK(report.fvu_per_position.isnan().all().item<bool>());
}

TEST_CASE("reconstruction metrics refuse tensors that do not fit", "[metrics]") {
  ReconstructionMeter meter(3, 2);
  const at::Tensor x = at::zeros({4, 3, 2});
  const at::Tensor scored = at::ones({4, 3}, at::kBool);
  CHECK_THROWS_AS(meter.add(x, at::zeros({4, 3, 3}), scored), lorsa::ShapeError);
  CHECK_THROWS_AS(meter.add(at::zeros({4, 2, 2}), at::zeros({4, 2, 2}), scored), lorsa::ShapeError);
  CHECK_THROWS_AS(meter.add(at::zeros({1, 3, 2}), x, scored), lorsa::ShapeError);
  CHECK_THROWS_AS(meter.add(x, x, at::ones({4, 1}, at::kBool)), lorsa::ShapeError);
  CHECK_THROWS_AS(meter.add(x, x, at::ones({4, 3})), lorsa::ShapeError);
  CHECK_THROWS_AS(meter.add(x.to(at::kLong), x, scored), lorsa::ShapeError);
  CHECK_THROWS_AS(ReconstructionMeter(0, 2), lorsa::ShapeError);
  CHECK(meter.report().num_tokens == 0);
}
