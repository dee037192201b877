#include "kernels/cpu/sparse_decode.h"

#include <algorithm>

#include "kernels/cpu/simd.h"

namespace lorsa::kernels::cpu {
namespace {

/// y += sum_i weight[i] * table[index[i]], in the order of i. Four rows a pass: y is then loaded
/// and stored once for four products, which leaves the rows' own bandwidth as the limit.
template <typename T>
LORSA_INLINE void add_rows(T* __restrict y,
                           int64_t width,
                           const T* __restrict table,
                           const int32_t* index,
                           const T* weight,
                           int64_t count) {
  int64_t i = 0;
  for (; i + 4 <= count; i += 4) {
    const T* __restrict r0 = table + index[i] * width;
    const T* __restrict r1 = table + index[i + 1] * width;
    const T* __restrict r2 = table + index[i + 2] * width;
    const T* __restrict r3 = table + index[i + 3] * width;
    const T w0 = weight[i];
    const T w1 = weight[i + 1];
    const T w2 = weight[i + 2];
    const T w3 = weight[i + 3];
#pragma omp simd
    for (int64_t d = 0; d < width; ++d) {
      y[d] = (((y[d] + w0 * r0[d]) + w1 * r1[d]) + w2 * r2[d]) + w3 * r3[d];
    }
  }
  for (; i < count; ++i) {
    const T* __restrict row = table + index[i] * width;
    const T w = weight[i];
#pragma omp simd
    for (int64_t d = 0; d < width; ++d) {
      y[d] += w * row[d];
    }
  }
}

template <typename T>
LORSA_INLINE void decode_row(const DecodeInput<T>& in, int64_t p, T* y) {
  const int64_t width = in.shape.width;
  for (int64_t d = 0; d < width; ++d) {
    y[d] = in.b_D == nullptr ? T{0} : in.b_D[d];
  }
  const int64_t entry = p * in.shape.k;
  add_rows(y, width, in.W_O_HD, in.head_PK + entry, in.value_PK + entry, in.shape.k);
}

template <typename T>
LORSA_INLINE void decode_rows_body(const DecodeInput<T>& in, int64_t begin, int64_t end, T* y_PD) {
  for (int64_t p = begin; p < end; ++p) {
    decode_row(in, p, y_PD + p * in.shape.width);
  }
}

/// out[i] = a . table[index[i]] for four i at once: a is loaded once, and four sums hide the
/// latency of an addition.
template <typename T>
LORSA_INLINE void dot_four(
    const T* __restrict a, int64_t width, const T* table, const int32_t* index, T* out) {
  const T* __restrict r0 = table + index[0] * width;
  const T* __restrict r1 = table + index[1] * width;
  const T* __restrict r2 = table + index[2] * width;
  const T* __restrict r3 = table + index[3] * width;
  T s0 = 0;
  T s1 = 0;
  T s2 = 0;
  T s3 = 0;
#pragma omp simd reduction(+ : s0, s1, s2, s3)
  for (int64_t d = 0; d < width; ++d) {
    s0 += a[d] * r0[d];
    s1 += a[d] * r1[d];
    s2 += a[d] * r2[d];
    s3 += a[d] * r3[d];
  }
  out[0] = s0;
  out[1] = s1;
  out[2] = s2;
  out[3] = s3;
}

template <typename T>
LORSA_INLINE T dot(const T* __restrict a, const T* __restrict b, int64_t width) {
  T sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t d = 0; d < width; ++d) {
    sum += a[d] * b[d];
  }
  return sum;
}

/// grad_value of position p.
template <typename T>
LORSA_INLINE void grad_value_row(
    const DecodeInput<T>& in, Selection selection, int64_t p, const T* grad_y, T* grad_value) {
  const int64_t width = in.shape.width;
  const int32_t* head = in.head_PK + p * in.shape.k;
  const T* value = in.value_PK + p * in.shape.k;
  int64_t k = 0;
  for (; k + 4 <= in.shape.k; k += 4) {
    dot_four(grad_y, width, in.W_O_HD, head + k, grad_value + k);
  }
  for (; k < in.shape.k; ++k) {
    grad_value[k] = dot(grad_y, in.W_O_HD + head[k] * width, width);
  }
  for (k = 0; selection == Selection::kPositive && k < in.shape.k; ++k) {
    grad_value[k] = value[k] == 0 ? T{0} : grad_value[k];
  }
}

template <typename T>
LORSA_INLINE void decode_loss_rows_body(const DecodeInput<T>& in,
                                        const LossInput<T>& loss,
                                        int64_t begin,
                                        int64_t end,
                                        const LossOutput<T>& output) {
  const int64_t width = in.shape.width;
  const auto scale = static_cast<T>(2.0 * loss.grad_scale);
  for (int64_t p = begin; p < end; ++p) {
    T* __restrict out = output.grad_y_PD + p * width;
    T* grad_value = output.grad_value_PK + p * in.shape.k;
    output.squared_error_P[p] = 0.0;
    if (loss.scored_P[p] == 0) {
      std::fill(out, out + width, T{0});
      std::fill(grad_value, grad_value + in.shape.k, T{0});
      continue;
    }
    decode_row(in, p, out);
    const T* __restrict target = loss.target_PD + p * width;
    double sum = 0.0;
#pragma omp simd reduction(+ : sum)
    for (int64_t d = 0; d < width; ++d) {
      const T difference = out[d] - target[d];
      sum += static_cast<double>(difference) * static_cast<double>(difference);
      out[d] = scale * difference;
    }
    output.squared_error_P[p] = sum;
    grad_value_row(in, loss.selection, p, out, grad_value);
  }
}

template <typename T>
LORSA_INLINE void sum_list_parts_body(const HeadLists<T>& lists,
                                      const T* grad_y_PD,
                                      int64_t width,
                                      const ListPart<T>* begin,
                                      const ListPart<T>* end) {
  for (const ListPart<T>* part = begin; part < end; ++part) {
    std::fill(part->row, part->row + width, T{0});
    add_rows(part->row, width, grad_y_PD, lists.position + part->first, lists.value + part->first,
             part->last - part->first);
  }
}

template <typename T>
LORSA_INLINE void column_sums_body(
    const T* grad_y_PD, const DecodeShape& shape, int64_t begin, int64_t end, T* grad_b_D) {
  constexpr int64_t kTile = 64;
  for (int64_t start = begin; start < end; start += kTile) {
    const int64_t n = std::min(kTile, end - start);
    double sum[kTile] = {};
    for (int64_t p = 0; p < shape.positions; ++p) {
      const T* row = grad_y_PD + p * shape.width + start;
#pragma omp simd
      for (int64_t d = 0; d < n; ++d) {
        sum[d] += static_cast<double>(row[d]);
      }
    }
    for (int64_t d = 0; d < n; ++d) {
      grad_b_D[start + d] = static_cast<T>(sum[d]);
    }
  }
}

template <typename T>
void sort_by_head_body(const DecodeInput<T>& in, int64_t* offset_H1, int32_t* position, T* value) {
  const int64_t entries = in.shape.positions * in.shape.k;
  std::fill(offset_H1, offset_H1 + in.shape.heads + 1, 0);
  for (int64_t e = 0; e < entries; ++e) {
    offset_H1[in.head_PK[e] + 1] += in.value_PK[e] != 0 ? 1 : 0;
  }
  for (int64_t h = 0; h < in.shape.heads; ++h) {
    offset_H1[h + 1] += offset_H1[h];
  }
  // Each offset serves as the head's write cursor and ends at the next head's start: shifted back
  // afterwards.
  for (int64_t p = 0; p < in.shape.positions; ++p) {
    for (int64_t e = p * in.shape.k; e < (p + 1) * in.shape.k; ++e) {
      if (in.value_PK[e] != 0) {
        const int64_t slot = offset_H1[in.head_PK[e]]++;
        position[slot] = static_cast<int32_t>(p);
        value[slot] = in.value_PK[e];
      }
    }
  }
  std::copy_backward(offset_H1, offset_H1 + in.shape.heads, offset_H1 + in.shape.heads + 1);
  offset_H1[0] = 0;
}

}  // namespace

void sort_by_head(const DecodeInput<float>& in,
                  int64_t* offset_H1,
                  int32_t* position,
                  float* value) {
  sort_by_head_body(in, offset_H1, position, value);
}

void sort_by_head(const DecodeInput<double>& in,
                  int64_t* offset_H1,
                  int32_t* position,
                  double* value) {
  sort_by_head_body(in, offset_H1, position, value);
}

// The clones, for float and double.

#define LORSA_INSTANTIATE(T)                                                                      \
  LORSA_SIMD_CLONES void decode_rows(const DecodeInput<T>& in, int64_t begin, int64_t end,        \
                                     T* y_PD) {                                                   \
    decode_rows_body(in, begin, end, y_PD);                                                       \
  }                                                                                               \
  LORSA_SIMD_CLONES void decode_loss_rows(const DecodeInput<T>& in, const LossInput<T>& loss,     \
                                          int64_t begin, int64_t end, const LossOutput<T>& out) { \
    decode_loss_rows_body(in, loss, begin, end, out);                                             \
  }                                                                                               \
  LORSA_SIMD_CLONES void sum_list_parts(const HeadLists<T>& lists, const T* grad_y_PD,            \
                                        int64_t width, const ListPart<T>* begin,                  \
                                        const ListPart<T>* end) {                                 \
    sum_list_parts_body(lists, grad_y_PD, width, begin, end);                                     \
  }                                                                                               \
  LORSA_SIMD_CLONES void column_sums(const T* grad_y_PD, DecodeShape shape, int64_t begin,        \
                                     int64_t end, T* grad_b_D) {                                  \
    column_sums_body(grad_y_PD, shape, begin, end, grad_b_D);                                     \
  }

LORSA_INSTANTIATE(float)
LORSA_INSTANTIATE(double)
#undef LORSA_INSTANTIATE

}  // namespace lorsa::kernels::cpu
