#pragma once

#include <string>
#include <utility>
#include <vector>

#include "lorsa/core/api.h"
#include "lorsa/io/json.h"

namespace lorsa::experiments {

/// y = floor + scale x^-exponent, floor >= 0, scale and exponent > 0, fitted by least squares of
/// the relative residuals (y - fit) / y.
struct LORSA_API PowerLaw {
  double scale = 0.0;
  double exponent = 0.0;
  double floor = 0.0;
  /// 95 % intervals by profile likelihood: the values at which the sum of squares, minimised over
  /// the other two parameters, stays below its minimum times 1 + t^2 / (n - 3), t the 97.5 %
  /// quantile of Student's distribution with n - 3 degrees of freedom. Chosen over a bootstrap of
  /// the residuals because that covers too little at 6 to 12 points, and over the covariance
  /// because the parameters are neither near-linear nor free (floor >= 0). An end that the points
  /// do not bound is 0 or infinite.
  std::pair<double, double> scale_interval, exponent_interval, floor_interval;
  std::vector<double> residuals;        ///< (y - fit) / y, in the order of the points
  double relative_error = 0.0;          ///< root mean square of the residuals
  double largest_relative_error = 0.0;  ///< largest |residual|
  /// Root mean square of the residuals when every point is predicted from a fit of the others.
  double held_out_error = 0.0;

  [[nodiscard]] double at(double x) const;
};

/// At least four points of at least four different x; x and y positive and finite. Throws
/// ConfigError otherwise, and where no power law is the best one: if y does not fall with x (is
/// constant or rises: the best scale is 0), or falls once and then no more (the best exponent has
/// no bound).
[[nodiscard]] LORSA_API PowerLaw fit_power_law(const std::vector<double>& x,
                                               const std::vector<double>& y);

/// The members under their names, intervals as [low, high] with null for an infinite end.
[[nodiscard]] LORSA_API io::Json to_json(const PowerLaw& fit);

}  // namespace lorsa::experiments
