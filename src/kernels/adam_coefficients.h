#pragma once

// Shared by the CPU and the CUDA kernel (C++17, no Torch).

#include <cmath>
#include <cstdint>

#include "lorsa/kernels/types.h"

namespace lorsa::kernels {

/// What one Adam step multiplies by: computed once in double, then rounded to the kernel's type.
template <typename T>
struct AdamCoefficients {
  T beta1, new1, beta2, new2, gradient_scale, keep, step_size, root_scale, eps;

  explicit AdamCoefficients(const AdamHyper& h) {
    const double correction1 = 1.0 - std::pow(h.beta1, static_cast<double>(h.step));
    const double correction2 = 1.0 - std::pow(h.beta2, static_cast<double>(h.step));
    beta1 = static_cast<T>(h.beta1);
    new1 = static_cast<T>(1.0 - h.beta1);
    beta2 = static_cast<T>(h.beta2);
    new2 = static_cast<T>(1.0 - h.beta2);
    gradient_scale = static_cast<T>(h.gradient_scale);
    keep = static_cast<T>(1.0 - h.learning_rate * h.weight_decay);
    step_size = static_cast<T>(h.learning_rate / correction1);
    root_scale = static_cast<T>(1.0 / std::sqrt(correction2));
    eps = static_cast<T>(h.eps);
  }
};

}  // namespace lorsa::kernels
