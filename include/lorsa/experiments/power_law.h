#pragma once

#include <string>
#include <utility>
#include <vector>

#include "lorsa/io/json.h"

namespace lorsa::experiments {

/// y = floor + scale x^-exponent, floor >= 0, fitted by least squares of the relative residuals
/// (y - fit) / y.
struct PowerLaw {
  double scale = 0.0;
  double exponent = 0.0;
  double floor = 0.0;
  /// 95 % intervals by a bootstrap of the residuals, seeded.
  std::pair<double, double> scale_interval, exponent_interval, floor_interval;
  std::vector<double> residuals;        ///< (y - fit) / y, in the order of the points
  double relative_error = 0.0;          ///< root mean square of the residuals
  double largest_relative_error = 0.0;  ///< largest |residual|
  /// Root mean square of the residuals when every point is predicted from a fit of the others.
  double held_out_error = 0.0;

  [[nodiscard]] double at(double x) const;
};

/// At least four points of at least four different x; x and y positive and finite. Throws
/// ConfigError otherwise.
[[nodiscard]] PowerLaw fit_power_law(const std::vector<double>& x, const std::vector<double>& y);

[[nodiscard]] io::Json to_json(const PowerLaw& fit);

}  // namespace lorsa::experiments
