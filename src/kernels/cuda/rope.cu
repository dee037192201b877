#include "kernels/cuda/rope.cuh"

namespace lorsa::kernels::cuda {
namespace {

constexpr int kThreads = 256;

/// Element i of two packs side by side.
template <typename T, int V>
__device__ __forceinline__ T& element(Pack<T, V>& low, Pack<T, V>& high, int i) {
  return i < V ? low.x[i] : high.x[i - V];
}

/// How a block's threads share its positions: `packs` of them go along the pairs of a head, `heads`
/// such groups along the heads, `positions` of those along the positions of a sequence.
struct RopeThreads {
  int packs = 0;
  int heads = 0;
  int positions = 0;
  unsigned blocks = 0;  ///< of a sequence
};

RopeThreads threads_for(const RopeShape& n, int width) {
  RopeThreads threads;
  threads.packs = static_cast<int>(n.half / width < kThreads ? n.half / width : kThreads);
  const int groups = kThreads / threads.packs;
  threads.heads = static_cast<int>(n.heads < groups ? n.heads : groups);
  threads.positions = groups / threads.heads;
  threads.blocks = static_cast<unsigned>((n.positions + threads.positions - 1) / threads.positions);
  return threads;
}

/// A thread rotates V pairs of every `threads.heads`-th head of one position with one part of the
/// table. With adjacent pairs both packs of a head lie side by side.
template <typename T, int V, bool kAdjacent>
__global__ void __launch_bounds__(kThreads) rope_kernel(
    T* x, const Sum<T>* cos, const Sum<T>* sin, RopeShape n, RopeThreads threads, Sum<T> sign) {
  const int tid = static_cast<int>(threadIdx.x);
  const int group = tid / threads.packs;
  const int first_head = group % threads.heads;
  const int in_block = group / threads.heads;
  const int64_t sequence = blockIdx.x / threads.blocks;
  const int64_t t =
      static_cast<int64_t>(blockIdx.x % threads.blocks) * threads.positions + in_block;
  if (in_block >= threads.positions || t >= n.positions) {
    return;
  }
  T* row = x + sequence * n.sequence_stride + t * n.position_stride;
  const int half = static_cast<int>(n.half);
  const int heads = static_cast<int>(n.heads);
  for (int pair = tid % threads.packs * V; pair < half; pair += threads.packs * V) {
    const auto c = load_pack<V>(cos + t * n.half + pair);
    auto s = load_pack<V>(sin + t * n.half + pair);
#pragma unroll
    for (int j = 0; j < V; ++j) {
      s.x[j] *= sign;
    }
    T* at = row + first_head * n.head_stride + (kAdjacent ? 2 * pair : pair);
    const int64_t other = kAdjacent ? V : n.half;
    const int64_t next_head = threads.heads * n.head_stride;
    for (int head = first_head; head < heads; head += threads.heads, at += next_head) {
      auto low = load_pack<V>(at);
      auto high = load_pack<V>(at + other);
#pragma unroll
      for (int j = 0; j < V; ++j) {
        T& first = element(low, high, kAdjacent ? 2 * j : j);
        T& second = element(low, high, kAdjacent ? 2 * j + 1 : V + j);
        const Sum<T> a = to_sum(first);
        const Sum<T> b = to_sum(second);
        first = from_sum<T>(a * c.x[j] - b * s.x[j]);
        second = from_sum<T>(b * c.x[j] + a * s.x[j]);
      }
      store_pack<V>(at, low);
      store_pack<V>(at + other, high);
    }
  }
}

/// Whether every pack of V elements starts at a multiple of its size, or of 16 bytes in the tables.
template <typename T>
bool aligned(const T* x, const Sum<T>* cos, const Sum<T>* sin, const RopeShape& n, int width) {
  return reinterpret_cast<uintptr_t>(x) % 16 == 0 && packable(cos, n.half) &&
         packable(sin, n.half) && n.half % width == 0 && n.head_stride % width == 0 &&
         n.position_stride % width == 0 && n.sequence_stride % width == 0;
}

}  // namespace

template <typename T>
cudaError_t rope(T* x_BTSE,
                 const Sum<T>* cos,
                 const Sum<T>* sin,
                 const RopeShape& shape,
                 bool adjacent_pairs,
                 int sign,
                 cudaStream_t stream) {
  if (shape.sequences * shape.positions * shape.heads * shape.half == 0) {
    return cudaSuccess;
  }
  const auto launch = [&](auto kernel, int width) {
    const RopeThreads threads = threads_for(shape, width);
    const int64_t blocks = threads.blocks * shape.sequences;
    if (blocks > INT32_MAX) {
      return cudaErrorInvalidConfiguration;
    }
    kernel<<<static_cast<unsigned>(blocks), kThreads, 0, stream>>>(x_BTSE, cos, sin, shape, threads,
                                                                   static_cast<Sum<T>>(sign));
    return after_launch(stream);
  };
  constexpr int V = kPackWidth<T>;
  const bool packs = aligned(x_BTSE, cos, sin, shape, V);
  if (adjacent_pairs) {
    return packs ? launch(rope_kernel<T, V, true>, V) : launch(rope_kernel<T, 1, true>, 1);
  }
  return packs ? launch(rope_kernel<T, V, false>, V) : launch(rope_kernel<T, 1, false>, 1);
}

#define LORSA_INSTANTIATE(T)                                                                  \
  template cudaError_t rope<T>(T*, const Sum<T>*, const Sum<T>*, const RopeShape&, bool, int, \
                               cudaStream_t);

LORSA_INSTANTIATE(float)
LORSA_INSTANTIATE(double)
LORSA_INSTANTIATE(__nv_bfloat16)
#undef LORSA_INSTANTIATE

}  // namespace lorsa::kernels::cuda
