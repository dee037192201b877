#include "experiments/power_law_search.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <numeric>

namespace lorsa::experiments {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr int kGrid = 160;             // 8 % from one exponent to the next
constexpr int kGoldenSteps = 50;       // two grid steps shrink by 0.618^50 = 4e-11
constexpr int kBisections = 48;        // of an interval between two steps
constexpr double kLeastChange = 1e-3;  // first step away from the best floor or logarithm of scale

using LawAtExponent = std::function<Law(double exponent)>;

// The loss of the law; not a number never wins.
Law judged(const LawPoints& points, double level, double exponent, double floor) {
  Law law{.level = level, .exponent = exponent, .floor = floor};
  for (size_t i = 0; i < points.y.size(); ++i) {
    const double residual = 1.0 - law.at(points.log_x[i]) / points.y[i];
    law.loss += residual * residual;
  }
  if (!(law.loss < kInfinity)) {
    law.loss = kInfinity;
  }
  return law;
}

// Sums over the points with weights 1 / y^2, over the sum of the weights.
struct Means {
  double z = 0.0, y = 0.0, zz = 0.0, zy = 0.0;
};

Means weighted_means(const LawPoints& points, double exponent) {
  Means means;
  double total = 0.0;
  for (size_t i = 0; i < points.y.size(); ++i) {
    const double y = points.y[i];
    const double z = std::exp(-exponent * points.log_x[i]);
    const double weight = 1.0 / (y * y);
    total += weight;
    means.z += weight * z;
    means.y += weight * y;
    means.zz += weight * z * z;
    means.zy += weight * z * y;
  }
  means.z /= total;
  means.y /= total;
  means.zz /= total;
  means.zy /= total;
  return means;
}

Law best_with_scale(const LawPoints& points, double exponent, double log_scale) {
  const Means means = weighted_means(points, exponent);
  const double level = std::exp(log_scale - exponent * points.log_reference);
  return judged(points, level, exponent, std::max(0.0, means.y - level * means.z));
}

Law best_with_floor(const LawPoints& points, double exponent, double floor) {
  const Means means = weighted_means(points, exponent);
  const double level = std::max(0.0, (means.zy - floor * means.z) / means.zz);
  return judged(points, level, exponent, floor);
}

// Over a grid of logarithms of the exponent, then golden section around the best of them.
Law best_of_exponents(const LawPoints& points, const LawAtExponent& law_at) {
  const double first = std::log(kLeastFall / points.span);
  const double step = std::log(kLargestFall / kLeastFall) / (kGrid - 1);
  const auto at = [&](double place) { return law_at(std::exp(first + place * step)); };
  Law best = at(0);
  int best_place = 0;
  for (int place = 1; place < kGrid; ++place) {
    if (const Law law = at(place); law.loss < best.loss) {
      best = law;
      best_place = place;
    }
  }
  constexpr double kGolden = std::numbers::phi - 1.0;
  double low = std::max(0, best_place - 1);
  double high = std::min(kGrid - 1, best_place + 1);
  double left = high - kGolden * (high - low);
  double right = low + kGolden * (high - low);
  Law at_left = at(left);
  Law at_right = at(right);
  for (int i = 0; i < kGoldenSteps; ++i) {
    if (at_left.loss < at_right.loss) {
      high = right;
      right = left;
      at_right = at_left;
      left = high - kGolden * (high - low);
      at_left = at(left);
    } else {
      low = left;
      left = right;
      at_left = at_right;
      right = low + kGolden * (high - low);
      at_right = at(right);
    }
  }
  for (const Law& law : {at_left, at_right}) {
    if (law.loss < best.loss) {
      best = law;
    }
  }
  return best;
}

// The place between `inside` (loss below the limit) and `outside` (above it) where the loss crosses
// the limit.
template <typename Loss>
double crossing(const Loss& loss, double inside, double outside, double limit) {
  for (int i = 0; i < kBisections; ++i) {
    const double middle = inside + (outside - inside) / 2;
    (loss(middle) <= limit ? inside : outside) = middle;
  }
  return inside + (outside - inside) / 2;
}

// The crossing from `best` towards `end`, in doubling steps; `beyond` if it is not before `end`.
template <typename Loss>
double end_towards(
    const Loss& loss, double best, double end, double first_step, double limit, double beyond) {
  double inside = best;
  for (double step = first_step; inside != end; step *= 2) {
    const double next = end > best ? std::min(end, best + step) : std::max(end, best - step);
    if (loss(next) > limit) {
      return crossing(loss, inside, next, limit);
    }
    inside = next;
  }
  return beyond;
}

}  // namespace

LawPoints::LawPoints(const std::vector<double>& x, const std::vector<double>& values) : y(values) {
  for (const double place : x) {
    log_x.push_back(std::log(place));
  }
  log_reference =
      std::accumulate(log_x.begin(), log_x.end(), 0.0) / static_cast<double>(log_x.size());
  for (double& place : log_x) {
    place -= log_reference;
  }
  const auto [low, high] = std::minmax_element(log_x.begin(), log_x.end());
  span = *high - *low;
}

double Law::at(double log_x) const {
  return floor + level * std::exp(-exponent * log_x);
}

Law best_at_exponent(const LawPoints& points, double exponent) {
  const Means means = weighted_means(points, exponent);
  // About the means: small exponents make z nearly constant.
  double covariance = 0.0;
  double variance = 0.0;
  for (size_t i = 0; i < points.y.size(); ++i) {
    const double weight = 1.0 / (points.y[i] * points.y[i]);
    const double z = std::exp(-exponent * points.log_x[i]) - means.z;
    covariance += weight * z * (points.y[i] - means.y);
    variance += weight * z * z;
  }
  const double level = covariance / variance;
  if (!(level > 0.0)) {
    return judged(points, 0.0, exponent, means.y);
  }
  if (const double floor = means.y - level * means.z; floor >= 0.0) {
    return judged(points, level, exponent, floor);
  }
  return judged(points, means.zy / means.zz, exponent, 0.0);
}

Law best_law(const LawPoints& points) {
  return best_of_exponents(points,
                           [&](double exponent) { return best_at_exponent(points, exponent); });
}

LawIntervals profile_intervals(const LawPoints& points, const Law& best, double limit) {
  LawIntervals found;
  const auto by_exponent = [&](double log_exponent) {
    return best_at_exponent(points, std::exp(log_exponent)).loss;
  };
  const double log_exponent = std::log(best.exponent);
  const double least = end_towards(by_exponent, log_exponent, std::log(kLeastFall / points.span),
                                   kLeastChange, limit, -kInfinity);
  const double largest =
      end_towards(by_exponent, log_exponent, std::log(kLargestFall / points.span), kLeastChange,
                  limit, kInfinity);
  found.exponent = {std::exp(least), std::exp(largest)};

  const auto by_scale = [&](double log_scale) {
    return best_of_exponents(
               points,
               [&](double exponent) { return best_with_scale(points, exponent, log_scale); })
        .loss;
  };
  const double log_scale = std::log(best.level) + best.exponent * points.log_reference;
  const double limit_of_double = std::log(std::numeric_limits<double>::max());
  found.log_scale = {
      end_towards(by_scale, log_scale, -limit_of_double, kLeastChange, limit, -kInfinity),
      end_towards(by_scale, log_scale, limit_of_double, kLeastChange, limit, kInfinity)};

  const auto by_floor = [&](double floor) {
    return best_of_exponents(
               points, [&](double exponent) { return best_with_floor(points, exponent, floor); })
        .loss;
  };
  // A floor of twice the largest y leaves residuals of at least 1 everywhere.
  const double largest_y = *std::max_element(points.y.begin(), points.y.end());
  const double smallest_y = *std::min_element(points.y.begin(), points.y.end());
  const double step = kLeastChange * smallest_y;
  found.floor = {end_towards(by_floor, best.floor, 0.0, step, limit, 0.0),
                 end_towards(by_floor, best.floor, 2 * largest_y, step, limit, kInfinity)};
  return found;
}

double student_quantile(int degrees) {
  // The finite sums for P(|t| < q) at an integer number of degrees (Abramowitz and Stegun 26.7.3
  // and 26.7.4), with angle = atan(q / sqrt(degrees)).
  const auto probability = [degrees](double angle) {
    const double cosine = std::cos(angle);
    double term = degrees % 2 == 0 ? 1.0 : cosine;
    double sum = degrees == 1 ? 0.0 : term;
    for (int i = degrees % 2 == 0 ? 2 : 3; i < degrees - 1; i += 2) {
      term *= cosine * cosine * (i - 1) / i;
      sum += term;
    }
    const double sine_part = std::sin(angle) * sum;
    return degrees % 2 == 0 ? sine_part : 2 / std::numbers::pi * (angle + sine_part);
  };
  double low = 0.0;
  double high = std::numbers::pi / 2;
  for (int i = 0; i < kBisections; ++i) {
    const double middle = (low + high) / 2;
    (probability(middle) < 0.95 ? low : high) = middle;
  }
  return std::sqrt(static_cast<double>(degrees)) * std::tan(low);
}

}  // namespace lorsa::experiments
