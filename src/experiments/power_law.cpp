#include "lorsa/experiments/power_law.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "experiments/power_law_search.h"
#include "lorsa/core/error.h"

namespace lorsa::experiments {
namespace {

constexpr size_t kLeastPoints = 4;
constexpr int kParameters = 3;
// What rounding alone adds to the loss: residuals are exact to about 1e-13.
constexpr double kRounding = 1e-26;
// Of y: a law that falls by less is constant to rounding.
constexpr double kLeastDrop = 1e-12;

void check_points(const std::vector<double>& x, const std::vector<double>& y) {
  LORSA_CHECK(x.size() == y.size(), ConfigError, "power law: {} x but {} y", x.size(), y.size());
  for (size_t i = 0; i < x.size(); ++i) {
    LORSA_CHECK(std::isfinite(x[i]) && x[i] > 0 && std::isfinite(y[i]) && y[i] > 0, ConfigError,
                "power law: point {} ({}, {}): both must be positive and finite", i, x[i], y[i]);
  }
  const size_t places = std::set<double>(x.begin(), x.end()).size();
  LORSA_CHECK(places >= kLeastPoints, ConfigError,
              "power law: needs points at {} different x at least, has {}", kLeastPoints, places);
}

void check_law(const LawPoints& points, const Law& best) {
  const auto [first, last] = std::minmax_element(points.log_x.begin(), points.log_x.end());
  const double drop = best.at(*first) - best.at(*last);
  LORSA_CHECK(drop > kLeastDrop * best.at(*first), ConfigError,
              "power law: y does not fall with x, so that no law is better than a constant");
  LORSA_CHECK(best.exponent * points.span < 0.999 * kLargestFall, ConfigError,
              "power law: y falls at the smallest x alone, so that the exponent has no bound");
}

// Every point from a fit of the others; what the others say of no law but a constant is that.
double held_out_error(const std::vector<double>& x, const std::vector<double>& y) {
  double sum = 0.0;
  for (size_t i = 0; i < x.size(); ++i) {
    std::vector<double> other_x = x;
    std::vector<double> other_y = y;
    other_x.erase(other_x.begin() + static_cast<std::ptrdiff_t>(i));
    other_y.erase(other_y.begin() + static_cast<std::ptrdiff_t>(i));
    const LawPoints others(other_x, other_y);
    const double predicted = best_law(others).at(std::log(x[i]) - others.log_reference);
    sum += std::pow((y[i] - predicted) / y[i], 2);
  }
  return std::sqrt(sum / static_cast<double>(x.size()));
}

}  // namespace

double PowerLaw::at(double x) const {
  // In one exponential: scale alone may be far from every y.
  return floor + std::exp(std::log(scale) - exponent * std::log(x));
}

PowerLaw fit_power_law(const std::vector<double>& x, const std::vector<double>& y) {
  check_points(x, y);
  const LawPoints points(x, y);
  const Law best = best_law(points);
  check_law(points, best);

  PowerLaw fit;
  fit.exponent = best.exponent;
  fit.floor = best.floor;
  fit.scale = best.level * std::exp(best.exponent * points.log_reference);
  LORSA_CHECK(std::isfinite(fit.scale) && fit.scale > 0, ConfigError,
              "power law: the exponent {} at x about {} needs a scale that no number holds",
              fit.exponent, std::exp(points.log_reference));
  const auto count = static_cast<double>(x.size());
  for (size_t i = 0; i < x.size(); ++i) {
    fit.residuals.push_back((y[i] - best.at(points.log_x[i])) / y[i]);
    fit.largest_relative_error =
        std::max(fit.largest_relative_error, std::abs(fit.residuals.back()));
  }
  fit.relative_error = std::sqrt(best.loss / count);
  fit.held_out_error = held_out_error(x, y);

  const int degrees = static_cast<int>(x.size()) - kParameters;
  const double quantile = student_quantile(degrees);
  const double limit = best.loss * (1 + quantile * quantile / degrees) + count * kRounding;
  const LawIntervals intervals = profile_intervals(points, best, limit);
  fit.scale_interval = {std::exp(intervals.log_scale.first), std::exp(intervals.log_scale.second)};
  fit.exponent_interval = intervals.exponent;
  fit.floor_interval = intervals.floor;
  return fit;
}

io::Json to_json(const PowerLaw& fit) {
  const auto interval = [&](const std::pair<double, double>& ends) {
    return io::Json::array({io::finite_or_null(ends.first), io::finite_or_null(ends.second)});
  };
  return {{"scale", fit.scale},
          {"exponent", fit.exponent},
          {"floor", fit.floor},
          {"scale_interval", interval(fit.scale_interval)},
          {"exponent_interval", interval(fit.exponent_interval)},
          {"floor_interval", interval(fit.floor_interval)},
          {"residuals", fit.residuals},
          {"relative_error", fit.relative_error},
          {"largest_relative_error", fit.largest_relative_error},
          {"held_out_error", fit.held_out_error}};
}

}  // namespace lorsa::experiments
