#include "lorsa/metrics/error_correlation.h"

#include <ATen/ATen.h>

#include "lorsa/core/error.h"
#include "lorsa/io/safetensors.h"
#include "support/tensors.h"
#include "support/test.h"

using lorsa::metrics::ErrorCorrelationMeter;
using lorsa::metrics::ErrorCorrelationReport;
using lorsa::test::relative_error;

namespace {

constexpr double kCorrelationTolerance = 1e-6;

// Rows first .. last-1 of every tensor.
void add_rows(ErrorCorrelationMeter& meter,
              const at::Tensor& y_CBTD,
              const at::Tensor& t_BTD,
              const at::Tensor& scored_BT,
              int64_t first,
              int64_t last) {
  std::vector<at::Tensor> outputs;
  for (int64_t c = 0; c < y_CBTD.size(0); ++c) {
    outputs.push_back(y_CBTD[c].slice(0, first, last));
  }
  meter.add(outputs, t_BTD.slice(0, first, last), scored_BT.slice(0, first, last));
}

}  // namespace

TEST_CASE("error correlations agree with numpy however the rows are batched", "[metrics]") {
  const auto rows = GENERATE(int64_t{1}, int64_t{2}, int64_t{3});
  CAPTURE(rows);
  const lorsa::io::SafetensorsReader file(lorsa::test::golden("metrics/errors.safetensors"));
  const at::Tensor y_CBTD = file.read("y");
  const at::Tensor t_BTD = file.read("t");
  const at::Tensor scored_BT = file.read("scored").to(at::kBool);
  ErrorCorrelationMeter meter(3);
  for (int64_t first = 0; first < t_BTD.size(0); first += rows) {
    add_rows(meter, y_CBTD, t_BTD, scored_BT, first, first + rows);
  }
  const ErrorCorrelationReport report = meter.report();
  CHECK(report.num_tokens == file.read("num_tokens").item<int64_t>());
  CHECK(relative_error(report.cosine_CC, file.read("cosine")) < kCorrelationTolerance);
  CHECK(relative_error(report.squared_norm_correlation_CC, file.read("squared_norm_correlation")) <
        kCorrelationTolerance);
  CHECK(relative_error(report.explained_CC, file.read("explained")) < kCorrelationTolerance);
}

TEST_CASE("an error that is a multiple of another one explains all of it", "[metrics]") {
  at::manual_seed(7);
  const at::Tensor t = at::randn({2, 5, 6}, at::kDouble);
  const at::Tensor error = at::randn({2, 5, 6}, at::kDouble);
  ErrorCorrelationMeter meter(2);
  meter.add({t + error, t - 3.0 * error}, t, at::ones({2, 5}, at::kBool));
  const ErrorCorrelationReport report = meter.report();
  CHECK(report.cosine_CC[0][1].item<double>() == Approx(-1.0));
  CHECK(report.squared_norm_correlation_CC[0][1].item<double>() == Approx(1.0));
  CHECK(report.explained_CC[0][1].item<double>() == Approx(1.0));
}

TEST_CASE("squared norms far from zero keep their correlation", "[metrics]") {
  // Norms of 1e6 that differ in the seventh digit: sums of squares alone would lose them.
  at::manual_seed(8);
  const at::Tensor small = at::rand({1, 400, 1}, at::kDouble);
  const at::Tensor t = at::zeros({1, 400, 1}, at::kDouble);
  ErrorCorrelationMeter meter(2);
  meter.add({(1e12 + small * 1e5).sqrt(), (1e12 - small * 1e5).sqrt()}, t,
            at::ones({1, 400}, at::kBool));
  CHECK(meter.report().squared_norm_correlation_CC[0][1].item<double>() ==
        Approx(-1.0).epsilon(1e-6));
}

TEST_CASE("without scored tokens error correlations are NaN", "[metrics]") {
  ErrorCorrelationMeter meter(2);
  const at::Tensor t = at::zeros({1, 2, 3});
  meter.add({t, t}, t, at::zeros({1, 2}, at::kBool));
  const ErrorCorrelationReport report = meter.report();
  CHECK(report.num_tokens == 0);
  CHECK(report.cosine_CC.isnan().all().item<bool>());
  CHECK(report.squared_norm_correlation_CC.isnan().all().item<bool>());
  CHECK(report.explained_CC.isnan().all().item<bool>());
}

TEST_CASE("error correlations refuse tensors that do not fit", "[metrics]") {
  ErrorCorrelationMeter meter(2);
  const at::Tensor t = at::zeros({1, 2, 3});
  const at::Tensor scored = at::ones({1, 2}, at::kBool);
  CHECK_THROWS_AS(meter.add({t}, t, scored), lorsa::ShapeError);
  CHECK_THROWS_AS(meter.add({t, at::zeros({1, 2, 4})}, t, scored), lorsa::ShapeError);
  CHECK_THROWS_AS(meter.add({t, t}, t, at::ones({2, 1}, at::kBool)), lorsa::ShapeError);
  CHECK_THROWS_AS(meter.add({t, t}, t, at::ones({1, 2})), lorsa::ShapeError);
  CHECK_THROWS_AS(ErrorCorrelationMeter(0), lorsa::ShapeError);
}
