#pragma once

// What the CUDA kernels share: packs for 16-byte accesses, the type sums are kept in, block sums in
// a fixed order, and the check after a launch. No Torch. Every entry point takes device pointers
// and a stream, owns no memory and returns the first error.

#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <cstdint>
#include <cstdlib>

namespace lorsa::kernels::cuda {

template <typename T>
struct SumOf {
  using type = T;
};

template <>
struct SumOf<__nv_bfloat16> {
  using type = float;
};

/// float for float and bfloat16, double for double.
template <typename T>
using Sum = typename SumOf<T>::type;

/// Elements of T in 16 bytes.
template <typename T>
constexpr int kPackWidth = 16 / static_cast<int>(sizeof(T));

/// With LORSA_SYNC_KERNELS=1 in the environment every launch is followed by a synchronise, so that
/// a failure is reported by the call that caused it.
inline cudaError_t after_launch(cudaStream_t stream) {
  static const bool synchronise = [] {
    const char* value = std::getenv("LORSA_SYNC_KERNELS");
    return value != nullptr && value[0] == '1';
  }();
  const cudaError_t launched = cudaGetLastError();
  return launched == cudaSuccess && synchronise ? cudaStreamSynchronize(stream) : launched;
}

/// Whether rows of `width` elements that start at `pointer` can be read 16 bytes at a time.
template <typename T>
bool packable(const T* pointer, int64_t width) {
  return width % kPackWidth<T> == 0 && reinterpret_cast<uintptr_t>(pointer) % 16 == 0;
}

#if defined(__CUDACC__)

/// V consecutive elements, moved by one access of up to 16 bytes.
template <typename T, int V>
struct alignas(sizeof(T) * V < 16 ? sizeof(T) * V : 16) Pack {
  T x[V];
};

template <int V, typename T>
__device__ __forceinline__ Pack<T, V> load_pack(const T* p) {
  return *reinterpret_cast<const Pack<T, V>*>(p);
}

template <int V, typename T>
__device__ __forceinline__ void store_pack(T* p, const Pack<T, V>& pack) {
  *reinterpret_cast<Pack<T, V>*>(p) = pack;
}

__device__ __forceinline__ float to_sum(float x) {
  return x;
}

__device__ __forceinline__ double to_sum(double x) {
  return x;
}

__device__ __forceinline__ float to_sum(__nv_bfloat16 x) {
  return __bfloat162float(x);
}

template <typename T>
__device__ __forceinline__ T from_sum(Sum<T> x) {
  return static_cast<T>(x);
}

template <>
__device__ __forceinline__ __nv_bfloat16 from_sum<__nv_bfloat16>(float x) {
  return __float2bfloat16_rn(x);
}

/// Sum over the block's threads, valid in thread 0. blockDim.x is a multiple of 32; a tree of fixed
/// shape, so the same bits every time. `shared` holds 32 doubles; ends without a barrier.
__device__ __forceinline__ double block_sum(double value, double* shared) {
  for (int offset = 16; offset > 0; offset /= 2) {
    value += __shfl_down_sync(0xffffffffu, value, offset);
  }
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  if (lane == 0) {
    shared[warp] = value;
  }
  __syncthreads();
  if (warp == 0) {
    value = lane < static_cast<int>(blockDim.x) / 32 ? shared[lane] : 0.0;
    for (int offset = 16; offset > 0; offset /= 2) {
      value += __shfl_down_sync(0xffffffffu, value, offset);
    }
  }
  return value;
}

/// *out = sum of x[0 .. n), by one block of 1024 threads in a fixed order.
static __global__ void sum_kernel(const double* x, int64_t n, double* out) {
  __shared__ double shared[32];
  double sum = 0.0;
  for (int64_t i = threadIdx.x; i < n; i += blockDim.x) {
    sum += x[i];
  }
  sum = block_sum(sum, shared);
  if (threadIdx.x == 0) {
    *out = sum;
  }
}

#endif  // __CUDACC__

}  // namespace lorsa::kernels::cuda
