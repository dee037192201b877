#pragma once

#include <functional>
#include <utility>
#include <vector>

namespace lorsa::experiments {

/// Points of a power law in the form in which every number of the search is near 1: the law is
/// floor + level (x / reference)^-exponent, reference the geometric mean of x.
struct LawPoints {
  LawPoints(const std::vector<double>& x, const std::vector<double>& y);

  std::vector<double> log_x;  ///< log(x / reference)
  std::vector<double> y;
  double log_reference = 0.0;
  double span = 0.0;  ///< of log_x
};

/// A law and its sum of squared relative residuals.
struct Law {
  double level = 0.0;
  double exponent = 0.0;
  double floor = 0.0;
  double loss = 0.0;

  [[nodiscard]] double at(double log_x) const;
};

/// Exponents are searched where the law falls by a factor of e^1e-4 to e^50 over the span of x.
constexpr double kLeastFall = 1e-4;
constexpr double kLargestFall = 50.0;

/// The best law of an exponent: level and floor >= 0 by weighted linear least squares.
[[nodiscard]] Law best_at_exponent(const LawPoints& points, double exponent);

/// The best law of all.
[[nodiscard]] Law best_law(const LawPoints& points);

/// Where the best law's loss stays below `limit` around its minimum, for each parameter: scale (in
/// logarithms, at x = 1), exponent and floor. Ends that are not found are -infinity (scale), 0 or
/// infinity.
struct LawIntervals {
  std::pair<double, double> log_scale, exponent, floor;
};

[[nodiscard]] LawIntervals profile_intervals(const LawPoints& points,
                                             const Law& best,
                                             double limit);

/// Quantile 0.975 of Student's distribution with `degrees` >= 1 degrees of freedom.
[[nodiscard]] double student_quantile(int degrees);

}  // namespace lorsa::experiments
