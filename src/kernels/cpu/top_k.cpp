#include "kernels/cpu/top_k.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <type_traits>
#include <vector>

#include "kernels/cpu/simd.h"

// Exact top-k of one row in three steps. (1) One vectorised pass computes the scores, keeps their
// bit patterns (which order like the scores, as these are not negative) and the maximum of every
// group of heads. (2) A bitwise search finds a threshold that at least k group maxima reach: no
// head below it can be among the k best, and few above it are not. (3) The heads that reach it,
// seldom many more than k, are ranked by counting. Ties and zeros cost time, never exactness.

namespace lorsa::kernels::cpu {
namespace {

template <typename T>
using BitsOf = std::conditional_t<sizeof(T) == 4, int32_t, int64_t>;

// Ranking by counting is quadratic but vectorised; past this many candidates sorting wins.
constexpr int64_t kMaxCounted = 768;

template <typename T>
struct Scratch {
  using Bits = BitsOf<T>;
  int64_t groups = 0;
  std::vector<Bits> key_H;
  std::vector<Bits> group_max;
  std::vector<Bits> candidate_key;
  std::vector<Bits> candidate_head;
  std::vector<int64_t> order;

  explicit Scratch(const TopKShape& shape) {
    // Searching costs groups, collecting costs the k best groups' heads: equal at sqrt(k H) groups.
    // Never fewer groups than k, or the threshold would cut too much.
    const auto group_size = static_cast<int64_t>(
        std::sqrt(static_cast<double>(shape.heads) / static_cast<double>(shape.k)));
    groups = (shape.heads + group_size - 1) / group_size;
    groups = std::min((groups + 15) / 16 * 16, shape.heads);
    key_H.resize(static_cast<size_t>(shape.heads));
    group_max.resize(static_cast<size_t>(groups));
    candidate_key.resize(static_cast<size_t>(shape.heads));
    candidate_head.resize(static_cast<size_t>(shape.heads));
  }
};

/// Group j holds the heads j, j + groups, j + 2 groups, ... Returns whether every score is valid.
template <bool kSigned, typename T>
LORSA_INLINE bool score_row(const T* z,
                            const T* norm_H,
                            int64_t heads,
                            int64_t groups,
                            BitsOf<T>* key_H,
                            BitsOf<T>* group_max) {
  using Bits = BitsOf<T>;
  Bits bad = 0;
  for (int64_t j = 0; j < groups; ++j) {
    group_max[j] = 0;
  }
  for (int64_t start = 0; start < heads; start += groups) {
    const int64_t n = heads - start < groups ? heads - start : groups;
    const T* z_part = z + start;
    const T* norm_part = norm_H + start;
    Bits* key_part = key_H + start;
#pragma omp simd reduction(| : bad)
    for (int64_t j = 0; j < n; ++j) {
      const T value = z_part[j];
      const T magnitude = kSigned ? (value < 0 ? -value : value) : (value < 0 ? T{0} : value);
      const T score = magnitude * norm_part[j] + T{0};  // + 0 makes -0 a +0, whose bits order
      const Bits key = std::bit_cast<Bits>(score);
      key_part[j] = key;
      group_max[j] = key > group_max[j] ? key : group_max[j];
      bad |= score >= T{0} ? Bits{0} : Bits{1};
    }
  }
  return bad == 0;
}

/// The greatest t among numbers with eleven mantissa bits such that at least k of x reach t.
template <typename T, typename Bits = BitsOf<T>>
LORSA_INLINE Bits threshold_for(const Bits* x, int64_t n, int64_t k) {
  constexpr int kFirst = sizeof(T) == 4 ? 30 : 62;
  constexpr int kLast = sizeof(T) == 4 ? 23 - 11 : 52 - 11;
  Bits threshold = 0;
  for (int bit = kFirst; bit >= kLast; --bit) {
    const Bits trial = threshold | (Bits{1} << bit);
    Bits count = 0;
#pragma omp simd reduction(+ : count)
    for (int64_t j = 0; j < n; ++j) {
      count += x[j] >= trial ? Bits{1} : Bits{0};
    }
    threshold = count >= k ? trial : threshold;
  }
  return threshold;
}

/// Collects every head whose key reaches the threshold; returns how many.
template <typename T, typename Bits = BitsOf<T>>
LORSA_INLINE int64_t collect(const TopKShape& shape, Bits threshold, Scratch<T>& scratch) {
  // Zeros are left to the fill: after a threshold of 0 they may be nearly all heads.
  const Bits least = threshold > 0 ? threshold : 1;
  const Bits* key_H = scratch.key_H.data();
  int64_t count = 0;
  for (int64_t j = 0; j < scratch.groups; ++j) {
    if (scratch.group_max[static_cast<size_t>(j)] < least) {
      continue;
    }
    for (int64_t h = j; h < shape.heads; h += scratch.groups) {
      if (key_H[h] >= least) {
        scratch.candidate_key[static_cast<size_t>(count)] = key_H[h];
        scratch.candidate_head[static_cast<size_t>(count)] = static_cast<Bits>(h);
        ++count;
      }
    }
  }
  for (int64_t h = 0; count < shape.k; ++h) {
    if (key_H[h] == 0) {
      scratch.candidate_key[static_cast<size_t>(count)] = 0;
      scratch.candidate_head[static_cast<size_t>(count)] = static_cast<Bits>(h);
      ++count;
    }
  }
  return count;
}

template <typename Bits>
LORSA_INLINE int64_t rank_of(const Bits* key, const Bits* head, int64_t n, int64_t i) {
  const Bits own_key = key[i];
  const Bits own_head = head[i];
  Bits rank = 0;
#pragma omp simd reduction(+ : rank)
  for (int64_t j = 0; j < n; ++j) {
    const bool before = (key[j] > own_key) | ((key[j] == own_key) & (head[j] < own_head));
    rank += before ? Bits{1} : Bits{0};
  }
  return rank;
}

template <bool kSigned, typename T>
LORSA_INLINE void emit(const T* z, int64_t head, T* value, int32_t* out_head) {
  *value = kSigned || z[head] > 0 ? z[head] : T{0};
  *out_head = static_cast<int32_t>(head);
}

/// Writes the k first of the n candidates in order, when there are too many to count.
template <bool kSigned, typename T>
void sort_candidates(
    const T* z, int64_t k, int64_t n, Scratch<T>& scratch, T* value_K, int32_t* head_K) {
  scratch.order.resize(static_cast<size_t>(n));
  std::iota(scratch.order.begin(), scratch.order.end(), int64_t{0});
  const auto before = [&](int64_t a, int64_t b) {
    const auto i = static_cast<size_t>(a);
    const auto j = static_cast<size_t>(b);
    return scratch.candidate_key[i] != scratch.candidate_key[j]
               ? scratch.candidate_key[i] > scratch.candidate_key[j]
               : scratch.candidate_head[i] < scratch.candidate_head[j];
  };
  if (k < n) {
    std::nth_element(scratch.order.begin(), scratch.order.begin() + k, scratch.order.end(), before);
  }
  std::sort(scratch.order.begin(), scratch.order.begin() + k, before);
  for (int64_t i = 0; i < k; ++i) {
    const int64_t head =
        scratch.candidate_head[static_cast<size_t>(scratch.order[static_cast<size_t>(i)])];
    emit<kSigned>(z, head, value_K + i, head_K + i);
  }
}

template <bool kSigned, typename T>
LORSA_INLINE bool top_k_row(const T* z,
                            const T* norm_H,
                            const TopKShape& shape,
                            Scratch<T>& scratch,
                            T* value_K,
                            int32_t* head_K) {
  if (!score_row<kSigned>(z, norm_H, shape.heads, scratch.groups, scratch.key_H.data(),
                          scratch.group_max.data())) {
    return false;
  }
  const auto threshold = threshold_for<T>(scratch.group_max.data(), scratch.groups, shape.k);
  const int64_t n = collect<T>(shape, threshold, scratch);
  if (n > kMaxCounted) {
    sort_candidates<kSigned>(z, shape.k, n, scratch, value_K, head_K);
    return true;
  }
  for (int64_t i = 0; i < n; ++i) {
    const int64_t rank = rank_of(scratch.candidate_key.data(), scratch.candidate_head.data(), n, i);
    if (rank < shape.k) {
      const auto head = static_cast<int64_t>(scratch.candidate_head[static_cast<size_t>(i)]);
      emit<kSigned>(z, head, value_K + rank, head_K + rank);
    }
  }
  return true;
}

// The clones: everything above is inlined into each of them.

LORSA_SIMD_CLONES bool positive_row(const float* z,
                                    const float* norm_H,
                                    const TopKShape& shape,
                                    Scratch<float>& scratch,
                                    float* value_K,
                                    int32_t* head_K) {
  return top_k_row<false>(z, norm_H, shape, scratch, value_K, head_K);
}

LORSA_SIMD_CLONES bool positive_row(const double* z,
                                    const double* norm_H,
                                    const TopKShape& shape,
                                    Scratch<double>& scratch,
                                    double* value_K,
                                    int32_t* head_K) {
  return top_k_row<false>(z, norm_H, shape, scratch, value_K, head_K);
}

LORSA_SIMD_CLONES bool signed_row(const float* z,
                                  const float* norm_H,
                                  const TopKShape& shape,
                                  Scratch<float>& scratch,
                                  float* value_K,
                                  int32_t* head_K) {
  return top_k_row<true>(z, norm_H, shape, scratch, value_K, head_K);
}

LORSA_SIMD_CLONES bool signed_row(const double* z,
                                  const double* norm_H,
                                  const TopKShape& shape,
                                  Scratch<double>& scratch,
                                  double* value_K,
                                  int32_t* head_K) {
  return top_k_row<true>(z, norm_H, shape, scratch, value_K, head_K);
}

template <typename T>
int64_t first_invalid(const T* z, const T* norm_H, int64_t heads, Selection selection) {
  for (int64_t h = 0; h < heads; ++h) {
    const T magnitude = selection == Selection::kSigned ? std::abs(z[h]) : (z[h] < 0 ? 0 : z[h]);
    if (!(magnitude * norm_H[h] >= 0)) {
      return h;
    }
  }
  return heads;
}

template <typename T>
int64_t rows(const T* z_PH,
             const T* norm_H,
             const TopKShape& shape,
             Selection selection,
             int64_t begin,
             int64_t end,
             T* value_PK,
             int32_t* head_PK) {
  Scratch<T> scratch(shape);
  for (int64_t p = begin; p < end; ++p) {
    const T* z = z_PH + p * shape.z_stride;
    T* value_K = value_PK + p * shape.k;
    int32_t* head_K = head_PK + p * shape.k;
    const bool valid = selection == Selection::kSigned
                           ? signed_row(z, norm_H, shape, scratch, value_K, head_K)
                           : positive_row(z, norm_H, shape, scratch, value_K, head_K);
    if (!valid) {
      return p * shape.heads + first_invalid(z, norm_H, shape.heads, selection);
    }
  }
  return -1;
}

}  // namespace

int64_t top_k_rows(const float* z_PH,
                   const float* norm_H,
                   TopKShape shape,
                   Selection selection,
                   int64_t begin,
                   int64_t end,
                   float* value_PK,
                   int32_t* head_PK) {
  return rows(z_PH, norm_H, shape, selection, begin, end, value_PK, head_PK);
}

int64_t top_k_rows(const double* z_PH,
                   const double* norm_H,
                   TopKShape shape,
                   Selection selection,
                   int64_t begin,
                   int64_t end,
                   double* value_PK,
                   int32_t* head_PK) {
  return rows(z_PH, norm_H, shape, selection, begin, end, value_PK, head_PK);
}

}  // namespace lorsa::kernels::cpu
