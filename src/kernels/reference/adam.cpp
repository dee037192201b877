#include "kernels/reference/adam.h"

#include <cmath>

namespace lorsa::kernels::reference {

template <typename T>
void adam_step(T* parameter,
               const T* gradient,
               T* first_moment,
               T* second_moment,
               int64_t n,
               const AdamHyper& hyper) {
  const double correction1 = 1.0 - std::pow(hyper.beta1, static_cast<double>(hyper.step));
  const double correction2 = 1.0 - std::pow(hyper.beta2, static_cast<double>(hyper.step));
  for (int64_t i = 0; i < n; ++i) {
    if (hyper.kind == AdamKind::kSparse && gradient[i] == T(0)) {
      continue;
    }
    const double g = hyper.gradient_scale * static_cast<double>(gradient[i]);
    const double m = hyper.beta1 * static_cast<double>(first_moment[i]) + (1.0 - hyper.beta1) * g;
    const double v =
        hyper.beta2 * static_cast<double>(second_moment[i]) + (1.0 - hyper.beta2) * g * g;
    double p = static_cast<double>(parameter[i]);
    p -= hyper.learning_rate * hyper.weight_decay * p;
    p -= hyper.learning_rate * (m / correction1) / (std::sqrt(v / correction2) + hyper.eps);
    first_moment[i] = static_cast<T>(m);
    second_moment[i] = static_cast<T>(v);
    parameter[i] = static_cast<T>(p);
  }
}

template <typename T>
double squared_norm(const T* x, int64_t n) {
  double sum = 0.0;
  for (int64_t i = 0; i < n; ++i) {
    sum += static_cast<double>(x[i]) * static_cast<double>(x[i]);
  }
  return sum;
}

template void adam_step<float>(float*, const float*, float*, float*, int64_t, const AdamHyper&);
template void adam_step<double>(
    double*, const double*, double*, double*, int64_t, const AdamHyper&);
template double squared_norm<float>(const float*, int64_t);
template double squared_norm<double>(const double*, int64_t);

}  // namespace lorsa::kernels::reference
