#include "kernels/cuda/sparse_decode.cuh"

namespace lorsa::kernels::cuda {
namespace {

constexpr int kThreads = 128;
constexpr int kTile = 128;  // kept heads that a block holds in shared memory at a time

template <typename T>
struct Kept {
  Sum<T> value[kTile];
  int32_t head[kTile];
};

/// y of V columns of position p. Called by all threads of the block together; those with
/// `active` false only help to load.
template <typename T, int V>
__device__ __forceinline__ void decode_columns(const DecodeInput<T>& in,
                                               Kept<T>& kept,
                                               int64_t p,
                                               int64_t column,
                                               bool active,
                                               Sum<T> (&y)[V]) {
  const int tid = static_cast<int>(threadIdx.x);
#pragma unroll
  for (int v = 0; v < V; ++v) {
    y[v] = active && in.b_D != nullptr ? in.b_D[column + v] : Sum<T>{0};
  }
  for (int64_t start = 0; start < in.shape.k; start += kTile) {
    const int count = static_cast<int>(in.shape.k - start < kTile ? in.shape.k - start : kTile);
    __syncthreads();
    for (int i = tid; i < count; i += kThreads) {
      kept.value[i] = to_sum(in.value_PK[p * in.shape.k + start + i]);
      kept.head[i] = in.head_PK[p * in.shape.k + start + i];
    }
    __syncthreads();
    if (active) {
#pragma unroll 4
      for (int i = 0; i < count; ++i) {
        const auto row = load_pack<V>(in.W_O_HD + kept.head[i] * in.shape.width + column);
#pragma unroll
        for (int v = 0; v < V; ++v) {
          y[v] += kept.value[i] * to_sum(row.x[v]);
        }
      }
    }
  }
}

template <typename T, int V>
__global__ void __launch_bounds__(kThreads) decode_kernel(DecodeInput<T> in, T* y_PD) {
  __shared__ Kept<T> kept;
  const int64_t p = blockIdx.x;
  // The loop's bound is the same for all threads: decode_columns synchronises the block.
  for (int64_t start = 0; start < in.shape.width; start += kThreads * V) {
    const int64_t column = start + static_cast<int64_t>(threadIdx.x) * V;
    const bool active = column < in.shape.width;
    Sum<T> y[V];
    decode_columns<T, V>(in, kept, p, column, active, y);
    if (active) {
      Pack<T, V> out;
#pragma unroll
      for (int v = 0; v < V; ++v) {
        out.x[v] = from_sum<T>(y[v]);
      }
      store_pack<V>(y_PD + p * in.shape.width + column, out);
    }
  }
}

template <typename T, int V>
__global__ void __launch_bounds__(kThreads) decode_loss_kernel(DecodeInput<T> in,
                                                               LossInput<T> loss,
                                                               T* grad_y_PD,
                                                               double* squared_error_P) {
  __shared__ Kept<T> kept;
  __shared__ double shared_sum[32];
  const int64_t p = blockIdx.x;
  const bool scored = loss.scored_P[p] != 0;
  const Sum<T> scale = static_cast<Sum<T>>(2.0 * loss.grad_scale);
  double squared_error = 0.0;
  for (int64_t start = 0; start < in.shape.width; start += kThreads * V) {
    const int64_t column = start + static_cast<int64_t>(threadIdx.x) * V;
    const bool active = column < in.shape.width;
    Sum<T> y[V] = {};
    if (scored) {
      decode_columns<T, V>(in, kept, p, column, active, y);
    }
    if (active) {
      Pack<T, V> out;
      if (scored) {
        const auto target = load_pack<V>(loss.target_PD + p * in.shape.width + column);
#pragma unroll
        for (int v = 0; v < V; ++v) {
          const Sum<T> difference = y[v] - to_sum(target.x[v]);
          squared_error += static_cast<double>(difference) * static_cast<double>(difference);
          out.x[v] = from_sum<T>(scale * difference);
        }
      } else {
#pragma unroll
        for (int v = 0; v < V; ++v) {
          out.x[v] = from_sum<T>(Sum<T>{0});
        }
      }
      store_pack<V>(grad_y_PD + p * in.shape.width + column, out);
    }
  }
  squared_error = block_sum(squared_error, shared_sum);
  if (threadIdx.x == 0) {
    squared_error_P[p] = squared_error;
  }
}

template <typename T, int V>
__global__ void __launch_bounds__(256)
    scatter_kernel(const T* grad_PK, const int32_t* head_PK, TopKShape shape, T* out_PH) {
  const int64_t p = blockIdx.x;
  T* row = out_PH + p * shape.heads;
  Pack<T, V> zeros;
#pragma unroll
  for (int v = 0; v < V; ++v) {
    zeros.x[v] = from_sum<T>(Sum<T>{0});
  }
  for (int64_t h = static_cast<int64_t>(threadIdx.x) * V; h < shape.heads; h += blockDim.x * V) {
    store_pack<V>(row + h, zeros);
  }
  __syncthreads();
  for (int64_t k = threadIdx.x; k < shape.k; k += blockDim.x) {
    const T grad = grad_PK[p * shape.k + k];
    if (to_sum(grad) != Sum<T>{0}) {
      row[head_PK[p * shape.k + k]] = grad;
    }
  }
}

}  // namespace

template <typename T>
cudaError_t decode(const DecodeInput<T>& in, T* y_PD, cudaStream_t stream) {
  if (in.shape.positions == 0 || in.shape.width == 0) {
    return cudaSuccess;
  }
  const auto launch = [&](auto kernel) {
    kernel<<<static_cast<unsigned>(in.shape.positions), kThreads, 0, stream>>>(in, y_PD);
    return after_launch(stream);
  };
  const bool packs = packable(in.W_O_HD, in.shape.width) && packable(y_PD, in.shape.width);
  return packs ? launch(decode_kernel<T, kPackWidth<T>>) : launch(decode_kernel<T, 1>);
}

template <typename T>
cudaError_t decode_loss(const DecodeInput<T>& in,
                        const LossInput<T>& loss,
                        T* grad_y_PD,
                        double* squared_error_P,
                        double* squared_error,
                        cudaStream_t stream) {
  const int64_t width = in.shape.width;
  if (in.shape.positions > 0) {
    const auto launch = [&](auto kernel) {
      kernel<<<static_cast<unsigned>(in.shape.positions), kThreads, 0, stream>>>(
          in, loss, grad_y_PD, squared_error_P);
      return after_launch(stream);
    };
    const bool packs =
        packable(in.W_O_HD, width) && packable(loss.target_PD, width) && packable(grad_y_PD, width);
    const cudaError_t error =
        packs ? launch(decode_loss_kernel<T, kPackWidth<T>>) : launch(decode_loss_kernel<T, 1>);
    if (error != cudaSuccess) {
      return error;
    }
  }
  sum_kernel<<<1, 1024, 0, stream>>>(squared_error_P, in.shape.positions, squared_error);
  return after_launch(stream);
}

template <typename T>
cudaError_t scatter_kept(
    const T* grad_PK, const int32_t* head_PK, TopKShape shape, T* out_PH, cudaStream_t stream) {
  if (shape.positions == 0) {
    return cudaSuccess;
  }
  const auto launch = [&](auto kernel) {
    kernel<<<static_cast<unsigned>(shape.positions), 256, 0, stream>>>(grad_PK, head_PK, shape,
                                                                       out_PH);
    return after_launch(stream);
  };
  return packable(out_PH, shape.heads) ? launch(scatter_kernel<T, kPackWidth<T>>)
                                       : launch(scatter_kernel<T, 1>);
}

#define LORSA_INSTANTIATE(T)                                                                   \
  template cudaError_t decode<T>(const DecodeInput<T>&, T*, cudaStream_t);                     \
  template cudaError_t decode_loss<T>(const DecodeInput<T>&, const LossInput<T>&, T*, double*, \
                                      double*, cudaStream_t);                                  \
  template cudaError_t scatter_kept<T>(const T*, const int32_t*, TopKShape, T*, cudaStream_t);

LORSA_INSTANTIATE(float)
LORSA_INSTANTIATE(double)
LORSA_INSTANTIATE(__nv_bfloat16)
#undef LORSA_INSTANTIATE

}  // namespace lorsa::kernels::cuda
