#include "kernels/adam_coefficients.h"
#include "kernels/cuda/adam.cuh"

namespace lorsa::kernels::cuda {
namespace {

constexpr int kThreads = 256;

/// p <- keep p - lr m^ / (sqrt(v^) + eps), with m^ and v^ the bias-corrected moments.
template <AdamKind kKind, typename T, int V>
__global__ void __launch_bounds__(kThreads) adam_kernel(T* parameter,
                                                        const T* gradient,
                                                        T* first_moment,
                                                        T* second_moment,
                                                        __nv_bfloat16* bfloat16_copy,
                                                        int64_t n,
                                                        AdamCoefficients<T> c) {
  const int64_t stride = static_cast<int64_t>(gridDim.x) * kThreads * V;
  for (int64_t i = (static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x) * V; i < n;
       i += stride) {
    auto p = load_pack<V>(parameter + i);
    auto m = load_pack<V>(first_moment + i);
    auto v = load_pack<V>(second_moment + i);
    const auto g = load_pack<V>(gradient + i);
#pragma unroll
    for (int j = 0; j < V; ++j) {
      if (kKind == AdamKind::kSparse && g.x[j] == T(0)) {
        continue;
      }
      const T scaled = c.gradient_scale * g.x[j];
      m.x[j] = c.beta1 * m.x[j] + c.new1 * scaled;
      v.x[j] = c.beta2 * v.x[j] + c.new2 * (scaled * scaled);
      p.x[j] = c.keep * p.x[j] - c.step_size * (m.x[j] / (sqrt(v.x[j]) * c.root_scale + c.eps));
    }
    store_pack<V>(parameter + i, p);
    store_pack<V>(first_moment + i, m);
    store_pack<V>(second_moment + i, v);
    if (bfloat16_copy != nullptr) {
      Pack<__nv_bfloat16, V> rounded;
#pragma unroll
      for (int j = 0; j < V; ++j) {
        rounded.x[j] = __float2bfloat16_rn(static_cast<float>(p.x[j]));
      }
      store_pack<V>(bfloat16_copy + i, rounded);
    }
  }
}

template <typename T>
__global__ void __launch_bounds__(kThreads) square_kernel(const T* x, int64_t n, double* partial) {
  __shared__ double shared[32];
  double sum = 0.0;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x; i < n;
       i += static_cast<int64_t>(kNormBlocks) * kThreads) {
    sum += static_cast<double>(x[i]) * static_cast<double>(x[i]);
  }
  sum = block_sum(sum, shared);
  if (threadIdx.x == 0) {
    partial[blockIdx.x] = sum;
  }
}

}  // namespace

template <typename T>
cudaError_t adam_step(T* parameter,
                      const T* gradient,
                      T* first_moment,
                      T* second_moment,
                      __nv_bfloat16* bfloat16_copy,
                      int64_t n,
                      const AdamHyper& hyper,
                      cudaStream_t stream) {
  if (n == 0) {
    return cudaSuccess;
  }
  const AdamCoefficients<T> coefficients(hyper);
  const auto launch = [&](auto kernel, int width) {
    // Enough blocks to fill any device; the stride covers the rest.
    const int64_t wanted = (n + static_cast<int64_t>(kThreads) * width - 1) / (kThreads * width);
    const auto blocks = static_cast<unsigned>(wanted < 65535 ? wanted : 65535);
    kernel<<<blocks, kThreads, 0, stream>>>(parameter, gradient, first_moment, second_moment,
                                            bfloat16_copy, n, coefficients);
    return after_launch(stream);
  };
  const bool packs =
      packable(parameter, n) && packable(gradient, n) && packable(first_moment, n) &&
      packable(second_moment, n) &&
      reinterpret_cast<uintptr_t>(bfloat16_copy) % alignof(Pack<__nv_bfloat16, kPackWidth<T>>) == 0;
  if (hyper.kind == AdamKind::kSparse) {
    return packs ? launch(adam_kernel<AdamKind::kSparse, T, kPackWidth<T>>, kPackWidth<T>)
                 : launch(adam_kernel<AdamKind::kSparse, T, 1>, 1);
  }
  return packs ? launch(adam_kernel<AdamKind::kDense, T, kPackWidth<T>>, kPackWidth<T>)
               : launch(adam_kernel<AdamKind::kDense, T, 1>, 1);
}

template <typename T>
cudaError_t squared_norm(
    const T* x, int64_t n, double* partial, double* result, cudaStream_t stream) {
  square_kernel<<<kNormBlocks, kThreads, 0, stream>>>(x, n, partial);
  const cudaError_t error = after_launch(stream);
  if (error != cudaSuccess) {
    return error;
  }
  sum_kernel<<<1, 1024, 0, stream>>>(partial, kNormBlocks, result);
  return after_launch(stream);
}

#define LORSA_INSTANTIATE(T)                                                       \
  template cudaError_t adam_step<T>(T*, const T*, T*, T*, __nv_bfloat16*, int64_t, \
                                    const AdamHyper&, cudaStream_t);               \
  template cudaError_t squared_norm<T>(const T*, int64_t, double*, double*, cudaStream_t);

LORSA_INSTANTIATE(float)
LORSA_INSTANTIATE(double)
#undef LORSA_INSTANTIATE

}  // namespace lorsa::kernels::cuda
