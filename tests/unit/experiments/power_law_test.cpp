#include "lorsa/experiments/power_law.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "experiments/power_law_search.h"
#include "lorsa/core/error.h"
#include "support/throws.h"

using namespace lorsa;
using experiments::fit_power_law;
using experiments::PowerLaw;

namespace {

io::Json golden_laws() {
  return io::read_json(test::golden("experiments/power_law.json"));
}

std::vector<double> spread(double first, double last, int count) {
  std::vector<double> x;
  for (int i = 0; i < count; ++i) {
    x.push_back(first * std::pow(last / first, static_cast<double>(i) / (count - 1)));
  }
  return x;
}

bool inside(const std::pair<double, double>& interval, double value) {
  return interval.first <= value && value <= interval.second;
}

// An end of an interval; the fixture has null where its search came to no end.
void check_end(double found, const io::Json& expected, double scale) {
  if (!expected.is_null()) {
    CHECK(std::abs(found - expected.get<double>()) < 1e-4 * scale);
  }
}

}  // namespace

TEST_CASE("power laws and their intervals are those of scipy", "[experiments]") {
  const io::Json golden = golden_laws();
  REQUIRE(golden["cases"].size() >= 6);
  for (const io::Json& expected : golden["cases"]) {
    INFO(expected["name"]);
    const auto x = expected["x"].get<std::vector<double>>();
    const auto y = expected["y"].get<std::vector<double>>();
    const PowerLaw fit = fit_power_law(x, y);
    const auto log_scale = expected["log_scale"].get<double>();
    const auto exponent = expected["exponent"].get<double>();
    const auto floor = expected["floor"].get<double>();
    const double smallest = *std::min_element(y.begin(), y.end());
    CHECK(std::log(fit.scale) == Approx(log_scale).margin(1e-4));
    CHECK(fit.exponent == Approx(exponent).epsilon(1e-4));
    CHECK(std::abs(fit.floor - floor) <= 1e-4 * floor);
    REQUIRE(fit.residuals.size() == y.size());
    for (size_t i = 0; i < y.size(); ++i) {
      const auto residual = expected["residuals"][i].get<double>();
      CHECK(std::abs(fit.residuals[i] - residual) < 1e-4 * std::abs(residual) + 1e-7);
      CHECK(fit.at(x[i]) == Approx(y[i] * (1 - fit.residuals[i])).epsilon(1e-10));
    }
    CHECK(fit.held_out_error == Approx(expected["held_out_error"].get<double>()).epsilon(1e-3));
    const io::Json& intervals = expected["intervals"];
    check_end(std::log(fit.scale_interval.first), intervals["log_scale"][0], 1.0);
    check_end(std::log(fit.scale_interval.second), intervals["log_scale"][1], 1.0);
    check_end(fit.exponent_interval.first, intervals["exponent"][0], exponent);
    check_end(fit.exponent_interval.second, intervals["exponent"][1], exponent);
    check_end(fit.floor_interval.first, intervals["floor"][0], smallest);
    check_end(fit.floor_interval.second, intervals["floor"][1], smallest);
  }
}

TEST_CASE("quantiles of Student's distribution are those of scipy", "[experiments]") {
  const io::Json golden = golden_laws();
  REQUIRE(golden["student"].size() == 8);
  for (const auto& [degrees, quantile] : golden["student"].items()) {
    INFO(degrees);
    CHECK(experiments::student_quantile(std::stoi(degrees)) ==
          Approx(quantile.get<double>()).epsilon(1e-9));
  }
}

TEST_CASE("an exact power law is found exactly, with narrow intervals", "[experiments]") {
  const std::vector<double> x = spread(1e5, 1e9, 7);
  const auto [scale, exponent, floor] = GENERATE(table<double, double, double>(
      {{3e-4, 0.5, 0.0}, {3e-4, 0.5, 1e-6}, {50.0, 0.25, 0.3}, {1e20, 2.0, 1e-3}}));
  CAPTURE(scale, exponent, floor);
  std::vector<double> y;
  for (const double place : x) {
    y.push_back(floor + scale * std::pow(place, -exponent));
  }
  const PowerLaw fit = fit_power_law(x, y);
  CHECK(fit.scale == Approx(scale).epsilon(1e-4));
  CHECK(fit.exponent == Approx(exponent).epsilon(1e-5));
  CHECK(std::abs(fit.floor - floor) < 1e-5 * y.back());
  CHECK(fit.largest_relative_error < 1e-6);
  CHECK(fit.held_out_error < 1e-5);
  CHECK(fit.exponent_interval.second - fit.exponent_interval.first < 1e-4 * exponent);
}

TEST_CASE("the intervals cover the truth about 95 times in 100", "[experiments]") {
  struct Truth {
    double scale, exponent, floor;
  };

  const Truth truth = GENERATE(Truth{2.0, 0.5, 0.1}, Truth{4.0, 0.3, 0.0});
  CAPTURE(truth.scale, truth.floor);
  const std::vector<double> x = spread(10, 1e4, 8);
  std::mt19937_64 random(20240719);
  std::normal_distribution<double> noise(0.0, 0.02);
  constexpr int kDraws = 200;
  std::array<int, 3> covered{};
  for (int draw = 0; draw < kDraws; ++draw) {
    std::vector<double> y;
    for (const double place : x) {
      y.push_back((truth.floor + truth.scale * std::pow(place, -truth.exponent)) *
                  (1 + noise(random)));
    }
    const PowerLaw fit = fit_power_law(x, y);
    REQUIRE(inside(fit.exponent_interval, fit.exponent));
    covered[0] += inside(fit.scale_interval, truth.scale) ? 1 : 0;
    covered[1] += inside(fit.exponent_interval, truth.exponent) ? 1 : 0;
    covered[2] += inside(fit.floor_interval, truth.floor) ? 1 : 0;
  }
  for (const int count : covered) {
    INFO(covered[0] << " " << covered[1] << " " << covered[2]);
    CHECK(count >= 0.89 * kDraws);
    CHECK(count <= 0.995 * kDraws);
  }
}

TEST_CASE("points without a power law are refused with a reason", "[experiments]") {
  const std::vector<double> x{1, 2, 4, 8, 16};
  const auto reason = [](const std::vector<double>& places, const std::vector<double>& values) {
    return test::message_of<ConfigError>([&] { (void)fit_power_law(places, values); });
  };
  test::require_parts(reason(x, {1, 2, 3}), {"5 x", "3 y"});
  test::require_parts(reason({1, 2, 4, 4, 4}, {5, 4, 3, 2, 1}), {"4 different x", "has 3"});
  test::require_parts(reason(x, {5, 4, -3, 2, 1}), {"point 2", "-3"});
  test::require_parts(reason({0, 2, 4, 8, 16}, {5, 4, 3, 2, 1}), {"point 0"});
  test::require_parts(reason(x, {5, 4, 3, 2, std::numeric_limits<double>::infinity()}),
                      {"point 4", "finite"});
  test::require_parts(reason(x, {0.3, 0.3, 0.3, 0.3, 0.3}), {"does not fall"});
  test::require_parts(reason(x, {1, 2, 3, 4, 5}), {"does not fall"});
  test::require_parts(reason(x, {9, 1, 1, 1, 1}), {"smallest x alone"});
}

TEST_CASE("an end that the points do not bound is null in JSON", "[experiments]") {
  PowerLaw fit;
  fit.scale = 2.0;
  fit.exponent_interval = {0.0, std::numeric_limits<double>::infinity()};
  fit.residuals = {0.5, -0.25};
  const io::Json json = to_json(fit);
  CHECK(json["scale"] == 2.0);
  CHECK(json["exponent_interval"] == io::Json::array({0.0, nullptr}));
  CHECK(json["residuals"] == io::Json::array({0.5, -0.25}));
  for (const char* key : {"exponent", "floor", "scale_interval", "floor_interval", "relative_error",
                          "largest_relative_error", "held_out_error"}) {
    CHECK(json.contains(key));
  }
}
