#pragma once

struct dim3 {
  unsigned x = 1;
  unsigned y = 1;
  unsigned z = 1;

  // NOLINTNEXTLINE(google-explicit-constructor): launches are written with plain numbers.
  constexpr dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}

  [[nodiscard]] constexpr unsigned long long count() const {
    return static_cast<unsigned long long>(x) * y * z;
  }
};
