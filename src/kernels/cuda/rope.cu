#include "kernels/cuda/rope.cuh"

namespace lorsa::kernels::cuda {
namespace {

constexpr int kThreads = 256;

/// Element i of two packs side by side.
template <typename T, int V>
__device__ __forceinline__ T& element(Pack<T, V>& low, Pack<T, V>& high, int i) {
  return i < V ? low.x[i] : high.x[i - V];
}

/// V pairs of one head a turn. With adjacent pairs both packs lie side by side.
template <typename T, int V, bool kAdjacent>
__global__ void __launch_bounds__(kThreads)
    rope_kernel(T* x, const Sum<T>* cos, const Sum<T>* sin, RopeShape n, Sum<T> sign) {
  const int64_t packs = n.half / V;
  const int64_t total = n.sequences * n.positions * n.heads * packs;
  const int64_t stride = static_cast<int64_t>(gridDim.x) * kThreads;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x; i < total;
       i += stride) {
    const int64_t pair = i % packs * V;
    const int64_t head = i / packs % n.heads;
    const int64_t row = i / packs / n.heads;
    const int64_t t = row % n.positions;
    T* at = x + row / n.positions * n.sequence_stride + t * n.position_stride +
            head * n.head_stride + (kAdjacent ? 2 * pair : pair);
    T* other = at + (kAdjacent ? V : n.half);
    auto low = load_pack<V>(at);
    auto high = load_pack<V>(other);
#pragma unroll
    for (int j = 0; j < V; ++j) {
      const Sum<T> c = cos[t * n.half + pair + j];
      const Sum<T> s = sign * sin[t * n.half + pair + j];
      T& first = element(low, high, kAdjacent ? 2 * j : j);
      T& second = element(low, high, kAdjacent ? 2 * j + 1 : V + j);
      const Sum<T> a = to_sum(first);
      const Sum<T> b = to_sum(second);
      first = from_sum<T>(a * c - b * s);
      second = from_sum<T>(b * c + a * s);
    }
    store_pack<V>(at, low);
    store_pack<V>(other, high);
  }
}

/// Whether every pack of V elements starts at a multiple of its size.
template <typename T>
bool aligned(const T* x, const RopeShape& n, int width) {
  return reinterpret_cast<uintptr_t>(x) % (static_cast<size_t>(width) * sizeof(T)) == 0 &&
         n.half % width == 0 && n.head_stride % width == 0 && n.position_stride % width == 0 &&
         n.sequence_stride % width == 0;
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
  const bool packs = aligned(x_BTSE, shape, kPackWidth<T>);
  const int64_t total =
      shape.sequences * shape.positions * shape.heads * shape.half / (packs ? kPackWidth<T> : 1);
  if (total == 0) {
    return cudaSuccess;
  }
  const int64_t blocks = (total + kThreads - 1) / kThreads;
  constexpr int64_t kMostBlocks = int64_t{1} << 20;
  const auto launch = [&](auto kernel) {
    kernel<<<static_cast<unsigned>(blocks < kMostBlocks ? blocks : kMostBlocks), kThreads, 0,
             stream>>>(x_BTSE, cos, sin, shape, static_cast<Sum<T>>(sign));
    return after_launch(stream);
  };
  if (adjacent_pairs) {
    return packs ? launch(rope_kernel<T, kPackWidth<T>, true>) : launch(rope_kernel<T, 1, true>);
  }
  return packs ? launch(rope_kernel<T, kPackWidth<T>, false>) : launch(rope_kernel<T, 1, false>);
}

#define LORSA_INSTANTIATE(T)                                                                  \
  template cudaError_t rope<T>(T*, const Sum<T>*, const Sum<T>*, const RopeShape&, bool, int, \
                               cudaStream_t);

LORSA_INSTANTIATE(float)
LORSA_INSTANTIATE(double)
LORSA_INSTANTIATE(__nv_bfloat16)
#undef LORSA_INSTANTIATE

}  // namespace lorsa::kernels::cuda
