#include "kernels/reference/sparse.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

namespace lorsa::kernels::reference {

template <typename T>
int64_t top_k(const T* z_PH,
              const T* norm_H,
              TopKShape shape,
              Selection selection,
              T* value_PK,
              int32_t* head_PK) {
  std::vector<T> score(static_cast<size_t>(shape.heads));
  std::vector<int32_t> order(static_cast<size_t>(shape.heads));
  for (int64_t p = 0; p < shape.positions; ++p) {
    const T* z = z_PH + p * shape.z_stride;
    for (int64_t h = 0; h < shape.heads; ++h) {
      const T magnitude = selection == Selection::kSigned ? std::abs(z[h]) : (z[h] < 0 ? 0 : z[h]);
      // One rounding in T, not double: ties are defined by the rounded score.
      score[static_cast<size_t>(h)] = magnitude * norm_H[h];
      if (std::isnan(score[static_cast<size_t>(h)])) {
        return p * shape.heads + h;
      }
    }
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
      return score[static_cast<size_t>(a)] > score[static_cast<size_t>(b)];
    });
    for (int64_t k = 0; k < shape.k; ++k) {
      const int32_t head = order[static_cast<size_t>(k)];
      const T value = selection == Selection::kSigned || z[head] > 0 ? z[head] : T{0};
      value_PK[p * shape.k + k] = value;
      head_PK[p * shape.k + k] = head;
    }
  }
  return -1;
}

template <typename T>
void decode(const T* value_PK,
            const int32_t* head_PK,
            const T* W_O_HD,
            const T* b_D,
            DecodeShape shape,
            T* y_PD) {
  for (int64_t p = 0; p < shape.positions; ++p) {
    for (int64_t d = 0; d < shape.width; ++d) {
      double sum = b_D == nullptr ? 0.0 : static_cast<double>(b_D[d]);
      for (int64_t k = 0; k < shape.k; ++k) {
        const int64_t entry = p * shape.k + k;
        sum += static_cast<double>(value_PK[entry]) *
               static_cast<double>(W_O_HD[head_PK[entry] * shape.width + d]);
      }
      y_PD[p * shape.width + d] = static_cast<T>(sum);
    }
  }
}

template <typename T>
double decode_loss(const T* value_PK,
                   const int32_t* head_PK,
                   const T* W_O_HD,
                   const T* b_D,
                   const T* target_PD,
                   const uint8_t* scored_P,
                   double grad_scale,
                   Selection selection,
                   DecodeShape shape,
                   T* grad_y_PD,
                   T* grad_value_PK) {
  decode(value_PK, head_PK, W_O_HD, b_D, shape, grad_y_PD);
  double squared_error = 0.0;
  for (int64_t p = 0; p < shape.positions; ++p) {
    for (int64_t d = 0; d < shape.width; ++d) {
      T& out = grad_y_PD[p * shape.width + d];
      const double difference =
          static_cast<double>(out) - static_cast<double>(target_PD[p * shape.width + d]);
      squared_error += scored_P[p] != 0 ? difference * difference : 0.0;
      out = scored_P[p] != 0 ? static_cast<T>(2.0 * grad_scale * difference) : T{0};
    }
  }
  for (int64_t entry = 0; entry < shape.positions * shape.k; ++entry) {
    double sum = 0.0;
    for (int64_t d = 0; d < shape.width; ++d) {
      sum += static_cast<double>(grad_y_PD[entry / shape.k * shape.width + d]) *
             static_cast<double>(W_O_HD[head_PK[entry] * shape.width + d]);
    }
    const bool kept = selection == Selection::kSigned || value_PK[entry] != 0;
    grad_value_PK[entry] = kept ? static_cast<T>(sum) : T{0};
  }
  return squared_error;
}

template <typename T>
void decode_backward(const T* value_PK,
                     const int32_t* head_PK,
                     const T* grad_y_PD,
                     DecodeShape shape,
                     T* grad_W_O_HD,
                     T* grad_b_D) {
  const int64_t width = shape.width;
  std::vector<double> grad_W_O(static_cast<size_t>(shape.heads * width), 0.0);
  for (int64_t entry = 0; entry < shape.positions * shape.k; ++entry) {
    for (int64_t d = 0; d < width; ++d) {
      grad_W_O[static_cast<size_t>(head_PK[entry] * width + d)] +=
          static_cast<double>(value_PK[entry]) *
          static_cast<double>(grad_y_PD[entry / shape.k * width + d]);
    }
  }
  std::transform(grad_W_O.begin(), grad_W_O.end(), grad_W_O_HD,
                 [](double x) { return static_cast<T>(x); });
  for (int64_t d = 0; d < width; ++d) {
    double sum = 0.0;
    for (int64_t p = 0; p < shape.positions; ++p) {
      sum += static_cast<double>(grad_y_PD[p * width + d]);
    }
    grad_b_D[d] = static_cast<T>(sum);
  }
}

template <typename T>
void scatter_kept(const T* grad_PK, const int32_t* head_PK, TopKShape shape, T* out_PH) {
  std::fill(out_PH, out_PH + shape.positions * shape.heads, T{0});
  for (int64_t entry = 0; entry < shape.positions * shape.k; ++entry) {
    if (grad_PK[entry] != T{0}) {
      out_PH[entry / shape.k * shape.heads + head_PK[entry]] = grad_PK[entry];
    }
  }
}

#define LORSA_INSTANTIATE(T)                                                                 \
  template int64_t top_k<T>(const T*, const T*, TopKShape, Selection, T*, int32_t*);         \
  template void decode<T>(const T*, const int32_t*, const T*, const T*, DecodeShape, T*);    \
  template double decode_loss<T>(const T*, const int32_t*, const T*, const T*, const T*,     \
                                 const uint8_t*, double, Selection, DecodeShape, T*, T*);    \
  template void decode_backward<T>(const T*, const int32_t*, const T*, DecodeShape, T*, T*); \
  template void scatter_kept<T>(const T*, const int32_t*, TopKShape, T*);

LORSA_INSTANTIATE(float)
LORSA_INSTANTIATE(double)
#undef LORSA_INSTANTIATE

}  // namespace lorsa::kernels::reference
