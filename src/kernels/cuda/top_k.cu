#include "kernels/cuda/top_k.cuh"

// Radix select. The bit pattern of a score (never negative) orders like the score, so four passes
// of eight bits over a row find the pattern of the k-th best: each pass counts, among the heads
// that agree with the prefix so far, how many have each next byte, and descends into the byte where
// the count from above reaches k. z is read once; its keys stay in registers.

namespace lorsa::kernels::cuda {
namespace {

constexpr int kThreads = 1024;
constexpr int kWarps = kThreads / 32;

struct Shared {
  unsigned histogram[256];
  unsigned warp_count[kWarps];
  unsigned digit;
  unsigned remaining;
  unsigned in_digit;
  unsigned num_kept;
  unsigned kept_key[kTopKMaxK];
  int kept_head[kTopKMaxK];
};

/// Finds, from the top, the byte in which the count reaches `remaining`: writes it, how many of it
/// are still wanted and how many there are. Warp 0 only; lane l owns bytes 255 - 8l down to 248 -
/// 8l.
__device__ void find_digit(Shared& shared, unsigned remaining) {
  const int lane = static_cast<int>(threadIdx.x);
  unsigned own = 0;
  for (int i = 0; i < 8; ++i) {
    own += shared.histogram[255 - 8 * lane - i];
  }
  unsigned up_to = own;
  for (int offset = 1; offset < 32; offset *= 2) {
    const unsigned other = __shfl_up_sync(0xffffffffu, up_to, offset);
    up_to += lane >= offset ? other : 0;
  }
  unsigned above = up_to - own;
  if (above < remaining && remaining <= up_to) {
    for (int digit = 255 - 8 * lane;; --digit) {
      const unsigned count = shared.histogram[digit];
      if (above + count >= remaining) {
        shared.digit = static_cast<unsigned>(digit);
        shared.remaining = remaining - above;
        shared.in_digit = count;
        return;
      }
      above += count;
    }
  }
}

__device__ __forceinline__ void keep(Shared& shared, unsigned key, int head) {
  // The order of arrival varies; the ranks computed from (key, head) do not.
  const unsigned slot = atomicAdd(&shared.num_kept, 1u);
  shared.kept_key[slot] = key;
  shared.kept_head[slot] = head;
}

/// Keeps the `wanted` lowest heads among those whose key equals the threshold.
template <int kItems>
__device__ void keep_lowest_equal(
    Shared& shared, const unsigned (&key)[kItems], int heads, unsigned threshold, unsigned wanted) {
  const int tid = static_cast<int>(threadIdx.x);
  unsigned seen = 0;
#pragma unroll
  for (int i = 0; i < kItems; ++i) {
    const int head = i * kThreads + tid;
    const bool equal = head < heads && key[i] == threshold;
    const unsigned ballot = __ballot_sync(0xffffffffu, equal);
    if (tid % 32 == 0) {
      shared.warp_count[tid / 32] = static_cast<unsigned>(__popc(ballot));
    }
    __syncthreads();
    unsigned before = seen;
#pragma unroll 1
    for (int warp = 0; warp < kWarps; ++warp) {
      before += warp < tid / 32 ? shared.warp_count[warp] : 0;
      seen += shared.warp_count[warp];
    }
    before += static_cast<unsigned>(__popc(ballot & ((1u << (tid % 32)) - 1u)));
    if (equal && before < wanted) {
      keep(shared, threshold, head);
    }
    __syncthreads();
  }
}

template <typename T, int kItems>
__global__ void __launch_bounds__(kThreads) top_k_kernel(const T* z_PH,
                                                         const float* norm_H,
                                                         TopKShape shape,
                                                         bool is_signed,
                                                         T* value_PK,
                                                         int32_t* head_PK,
                                                         unsigned long long* first_invalid) {
  __shared__ Shared shared;
  const int tid = static_cast<int>(threadIdx.x);
  const int64_t p = blockIdx.x;
  const T* z = z_PH + p * shape.z_stride;
  const int heads = static_cast<int>(shape.heads);

  // A few loads before what depends on them: a branch or an atomic between two of them makes the
  // second wait for the first, and a block of this size has no other to hide that.
  constexpr int kAtOnce = kItems > 32 ? 4 : kItems < 8 ? kItems : 8;
  unsigned key[kItems];
  int lowest_invalid = heads;
#pragma unroll
  for (int first = 0; first < kItems; first += kAtOnce) {
    float value[kAtOnce];
    float norm[kAtOnce];
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i) {
      const int head = (first + i) * kThreads + tid;
      value[i] = head < heads ? to_sum(z[head]) : 0.0f;
      norm[i] = head < heads ? norm_H[head] : 0.0f;
    }
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i) {
      const int head = (first + i) * kThreads + tid;
      const float magnitude = is_signed ? fabsf(value[i]) : (value[i] < 0.0f ? 0.0f : value[i]);
      const float score = magnitude * norm[i] + 0.0f;  // + 0 makes -0 a +0, whose bits order
      lowest_invalid = !(score >= 0.0f) && head < lowest_invalid ? head : lowest_invalid;
      key[first + i] = __float_as_uint(score);
    }
  }
  if (lowest_invalid < heads) {
    atomicMin(first_invalid, static_cast<unsigned long long>(p * shape.heads + lowest_invalid));
  }

  unsigned prefix = 0;
  unsigned mask = 0;
  unsigned remaining = static_cast<unsigned>(shape.k);
  for (int shift = 24; shift >= 0; shift -= 8) {
    if (tid < 256) {
      shared.histogram[tid] = 0;
    }
    __syncthreads();
#pragma unroll
    for (int i = 0; i < kItems; ++i) {
      const int head = i * kThreads + tid;
      if (head < heads && (key[i] & mask) == prefix) {
        atomicAdd(&shared.histogram[(key[i] >> shift) & 255u], 1u);
      }
    }
    __syncthreads();
    if (tid < 32) {
      find_digit(shared, remaining);
    }
    __syncthreads();
    prefix |= shared.digit << shift;
    mask |= 255u << shift;
    remaining = shared.remaining;
  }
  const unsigned in_digit = shared.in_digit;

  if (tid == 0) {
    shared.num_kept = 0;
  }
  __syncthreads();
  // All that beat the threshold, and those that equal it if none of them is too many.
  const bool all_equal = in_digit == remaining;
#pragma unroll
  for (int i = 0; i < kItems; ++i) {
    const int head = i * kThreads + tid;
    if (head < heads && (key[i] > prefix || (all_equal && key[i] == prefix))) {
      keep(shared, key[i], head);
    }
  }
  if (!all_equal) {
    keep_lowest_equal<kItems>(shared, key, heads, prefix, remaining);
  }
  __syncthreads();

  const int k = static_cast<int>(shape.k);
  for (int i = tid; i < k; i += kThreads) {
    const unsigned own_key = shared.kept_key[i];
    const int own_head = shared.kept_head[i];
    int rank = 0;
    for (int j = 0; j < k; ++j) {
      const unsigned other = shared.kept_key[j];
      rank += other > own_key || (other == own_key && shared.kept_head[j] < own_head) ? 1 : 0;
    }
    const T value = z[own_head];
    value_PK[p * k + rank] = is_signed || to_sum(value) > 0.0f ? value : from_sum<T>(0.0f);
    head_PK[p * k + rank] = own_head;
  }
}

}  // namespace

template <typename T>
cudaError_t top_k(const T* z_PH,
                  const float* norm_H,
                  TopKShape shape,
                  Selection selection,
                  T* value_PK,
                  int32_t* head_PK,
                  unsigned long long* first_invalid,
                  cudaStream_t stream) {
  if (shape.heads > kTopKMaxHeads || shape.k > kTopKMaxK || shape.k < 1 || shape.k > shape.heads ||
      shape.positions > INT32_MAX) {
    return cudaErrorInvalidValue;
  }
  if (shape.positions == 0) {
    return cudaSuccess;
  }
  const auto launch = [&](auto kernel) {
    kernel<<<static_cast<unsigned>(shape.positions), kThreads, 0, stream>>>(
        z_PH, norm_H, shape, selection == Selection::kSigned, value_PK, head_PK, first_invalid);
    return after_launch(stream);
  };
  const int64_t items = (shape.heads + kThreads - 1) / kThreads;
  if (items <= 1) {
    return launch(top_k_kernel<T, 1>);
  }
  if (items <= 4) {
    return launch(top_k_kernel<T, 4>);
  }
  if (items <= 8) {
    return launch(top_k_kernel<T, 8>);
  }
  if (items <= 16) {
    return launch(top_k_kernel<T, 16>);
  }
  if (items <= 32) {
    return launch(top_k_kernel<T, 32>);
  }
  return launch(top_k_kernel<T, 64>);
}

template cudaError_t top_k<float>(const float*,
                                  const float*,
                                  TopKShape,
                                  Selection,
                                  float*,
                                  int32_t*,
                                  unsigned long long*,
                                  cudaStream_t);
template cudaError_t top_k<__nv_bfloat16>(const __nv_bfloat16*,
                                          const float*,
                                          TopKShape,
                                          Selection,
                                          __nv_bfloat16*,
                                          int32_t*,
                                          unsigned long long*,
                                          cudaStream_t);

}  // namespace lorsa::kernels::cuda
