#include "kernels/cpu/simd.h"

#include <cmath>
#include <limits>
#include <vector>

#include "support/test.h"

using lorsa::kernels::cpu::fast_exp;

namespace {

LORSA_SIMD_CLONES void exp_all(const float* x, float* y, int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    y[i] = fast_exp(x[i]);
  }
}

LORSA_SIMD_CLONES void exp_all(const double* x, double* y, int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    y[i] = fast_exp(x[i]);
  }
}

template <typename T>
double worst_relative_error(double low, double high) {
  std::vector<T> x;
  for (double v = low; v < high; v += (high - low) / 400000) {
    x.push_back(static_cast<T>(v));
  }
  std::vector<T> y(x.size());
  exp_all(x.data(), y.data(), static_cast<int64_t>(x.size()));
  double worst = 0.0;
  for (size_t i = 0; i < x.size(); ++i) {
    const long double exact = std::exp(static_cast<long double>(x[i]));
    worst = std::max(worst, std::abs(static_cast<double>(y[i] / exact - 1)));
  }
  return worst;
}

template <typename T>
void check_special_values() {
  const T infinity = std::numeric_limits<T>::infinity();
  const std::vector<T> x = {-infinity, infinity, std::numeric_limits<T>::quiet_NaN(), 0, -1e4, 1e4};
  std::vector<T> y(x.size(), T{-1});
  exp_all(x.data(), y.data(), static_cast<int64_t>(x.size()));
  REQUIRE(y[0] == 0);
  REQUIRE(y[1] == infinity);
  REQUIRE(std::isnan(y[2]));
  REQUIRE(y[3] == 1);
  REQUIRE(y[4] == 0);
  REQUIRE(y[5] == infinity);
}

}  // namespace

TEST_CASE("fast_exp is right to a rounding over the normal range", "[kernels][simd]") {
  REQUIRE(worst_relative_error<float>(-87.32, 88.36) < 1.2e-7);
  REQUIRE(worst_relative_error<double>(-707.9, 708.9) < 1e-15);
}

TEST_CASE("fast_exp flushes to zero, overflows to infinity and keeps NaN", "[kernels][simd]") {
  check_special_values<float>();
  check_special_values<double>();
}
