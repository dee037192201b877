#include "kernels/cuda/sparse_decode.cuh"

namespace lorsa::kernels::cuda {
namespace {

constexpr int kThreads = 128;
constexpr int kTile = 128;  // kept heads that a block holds in shared memory at a time

/// What a block of staged_loss_kernel() holds of W_O: 32 KiB, so that six run on a multiprocessor,
/// and of K rows at least 128 bytes at a time.
constexpr int kStagedBlocks = 6;
constexpr int kStagedPacks = 2048;
constexpr int kStagedRows = static_cast<int>(kDecodeStagedRows);

template <typename T, int N>
struct Kept {
  alignas(16) Sum<T> value[N];
  alignas(16) int32_t head[N];
};

/// y of V columns of position p. Called by all threads of the block together; those with
/// `active` false only help to load.
template <typename T, int V>
__device__ __forceinline__ void decode_columns(const DecodeInput<T>& in,
                                               Kept<T, kTile>& kept,
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
  __shared__ Kept<T, kTile> kept;
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

/// Gradients of a position that does not count.
template <typename T>
__device__ void write_unscored(const DecodeInput<T>& in, const LossOutput<T>& out, int64_t p) {
  const T zero = from_sum<T>(Sum<T>{0});
  for (int64_t d = threadIdx.x; d < in.shape.width; d += kThreads) {
    out.grad_y_PD[p * in.shape.width + d] = zero;
  }
  for (int64_t k = threadIdx.x; k < in.shape.k; k += kThreads) {
    out.grad_value_PK[p * in.shape.k + k] = zero;
  }
  if (threadIdx.x == 0) {
    out.squared_error_P[p] = 0.0;
  }
}

/// From y of V columns of position p to their grad_y, which is written and returned.
template <typename T, int V>
__device__ __forceinline__ Pack<T, V> finish_columns(const DecodeInput<T>& in,
                                                     const LossInput<T>& loss,
                                                     const LossOutput<T>& out,
                                                     int64_t p,
                                                     int64_t column,
                                                     const Sum<T> (&y)[V],
                                                     double& squared_error) {
  const auto target = load_pack<V>(loss.target_PD + p * in.shape.width + column);
  const Sum<T> scale = static_cast<Sum<T>>(2.0 * loss.grad_scale);
  Pack<T, V> grad_y;
#pragma unroll
  for (int v = 0; v < V; ++v) {
    const Sum<T> difference = y[v] - to_sum(target.x[v]);
    squared_error += static_cast<double>(difference) * static_cast<double>(difference);
    grad_y.x[v] = from_sum<T>(scale * difference);
  }
  store_pack<V>(out.grad_y_PD + p * in.shape.width + column, grad_y);
  return grad_y;
}

/// The gradient of a kept value from grad_y's product with its row.
template <typename T>
__device__ __forceinline__ T grad_value(Selection selection, Sum<T> value, Sum<T> dot) {
  const bool acts = selection == Selection::kSigned || value != Sum<T>{0};
  return from_sum<T>(acts ? dot : Sum<T>{0});
}

/// Sum over groups of `lanes` lanes, a power of two, in the first lane of each.
template <typename S>
__device__ __forceinline__ S group_sum(S sum, int lanes) {
  for (int offset = lanes / 2; offset > 0; offset /= 2) {
    sum += __shfl_down_sync(0xffffffffu, sum, offset);
  }
  return sum;
}

/// One block per position, for K <= kStagedRows: goes along the columns in chunks of `lanes` packs,
/// whose part of the kept rows it holds in shared memory from y until the dots with grad_y. So
/// rows are read once. (Read again when y is whole they come from memory again: all blocks that
/// run together have several times the L2 cache's size of rows.)
template <typename T>
__global__ void __launch_bounds__(kThreads, kStagedBlocks)
    staged_loss_kernel(DecodeInput<T> in, LossInput<T> loss, LossOutput<T> out, int lanes) {
  constexpr int V = kPackWidth<T>;
  constexpr int kColumns = V == 8 ? 2 : 1;        // of y that a thread makes at a time: 4 bytes
  constexpr int kRows = kStagedPacks / kThreads;  // of a thread: one pack of each
  constexpr int kBatch = 8;
  __shared__ Pack<T, V> rows[kStagedPacks];  // [K and more, lanes]
  __shared__ Pack<T, V> grad_y[32];
  __shared__ Kept<T, kStagedRows> kept;
  __shared__ double shared_sum[32];
  const int64_t p = blockIdx.x;
  if (loss.scored_P[p] == 0) {
    write_unscored(in, out, p);
    return;
  }
  const int tid = static_cast<int>(threadIdx.x);
  const int k_end = static_cast<int>(in.shape.k);
  // Rows first, first + step, ... are this thread's, and of each the pack `lane`; past K it loads
  // the last row again, for nothing.
  const int lane = tid % lanes;
  const int first = tid / lanes;
  const int step = kThreads / lanes;
  for (int k = tid; k < kRows * step; k += kThreads) {
    const int64_t entry = p * k_end + (k < k_end ? k : k_end - 1);
    kept.value[k] = to_sum(in.value_PK[entry]);
    kept.head[k] = in.head_PK[entry];
  }
  Sum<T> dot[kRows] = {};
  double squared_error = 0.0;
  for (int64_t chunk = 0; chunk < in.shape.width; chunk += lanes * V) {
    const bool active = chunk + lane * V < in.shape.width;
    const int64_t column = active ? chunk + lane * V : 0;
    __syncthreads();
#pragma unroll
    for (int batch = 0; batch < kRows; batch += kBatch) {
      if (batch * step < k_end) {
        // All loads, then all stores: no load moves in front of a store or behind a branch.
        Pack<T, V> loaded[kBatch];
#pragma unroll
        for (int i = 0; i < kBatch; ++i) {
          const int k = first + (batch + i) * step;
          loaded[i] = load_pack<V>(in.W_O_HD + kept.head[k] * in.shape.width + column);
        }
#pragma unroll
        for (int i = 0; i < kBatch; ++i) {
          rows[(first + (batch + i) * step) * lanes + lane] = loaded[i];
        }
      }
    }
    __syncthreads();
    for (int d = tid * kColumns; d < lanes * V && chunk + d < in.shape.width;
         d += kThreads * kColumns) {
      const T* staged = &rows[0].x[0] + d;
      Sum<T> y[kColumns];
#pragma unroll
      for (int v = 0; v < kColumns; ++v) {
        y[v] = in.b_D != nullptr ? in.b_D[chunk + d + v] : Sum<T>{0};
      }
#pragma unroll 8
      for (int k = 0; k < k_end; ++k) {
        const auto row = load_pack<kColumns>(staged + k * lanes * V);
#pragma unroll
        for (int v = 0; v < kColumns; ++v) {
          y[v] += kept.value[k] * to_sum(row.x[v]);
        }
      }
      const auto grad = finish_columns<T, kColumns>(in, loss, out, p, chunk + d, y, squared_error);
      store_pack<kColumns>(&grad_y[0].x[0] + d, grad);
    }
    __syncthreads();
    Pack<T, V> grad = {};
    if (active) {
      grad = grad_y[lane];
    }
#pragma unroll
    for (int batch = 0; batch < kRows; batch += kBatch) {
      if (batch * step < k_end) {
#pragma unroll
        for (int i = batch; i < batch + kBatch; ++i) {
          const Pack<T, V> row = rows[(first + i * step) * lanes + lane];
#pragma unroll
          for (int v = 0; v < V; ++v) {
            dot[i] += to_sum(grad.x[v]) * to_sum(row.x[v]);
          }
        }
      }
    }
  }
#pragma unroll
  for (int i = 0; i < kRows; ++i) {
    const Sum<T> sum = group_sum(dot[i], lanes);
    const int k = first + i * step;
    if (lane == 0 && k < k_end) {
      out.grad_value_PK[p * k_end + k] = grad_value<T>(loss.selection, kept.value[k], sum);
    }
  }
  squared_error = block_sum(squared_error, shared_sum);
  if (tid == 0) {
    out.squared_error_P[p] = squared_error;
  }
}

/// One block per position, for rows that cannot be staged: they are read for y and again, by one
/// warp per kept head in turn, for the dots.
template <typename T, int V>
__global__ void __launch_bounds__(kThreads)
    loss_kernel(DecodeInput<T> in, LossInput<T> loss, LossOutput<T> out) {
  __shared__ Kept<T, kTile> kept;
  __shared__ double shared_sum[32];
  const int64_t p = blockIdx.x;
  if (loss.scored_P[p] == 0) {
    write_unscored(in, out, p);
    return;
  }
  double squared_error = 0.0;
  for (int64_t start = 0; start < in.shape.width; start += kThreads * V) {
    const int64_t column = start + static_cast<int64_t>(threadIdx.x) * V;
    const bool active = column < in.shape.width;
    Sum<T> y[V];
    decode_columns<T, V>(in, kept, p, column, active, y);
    if (active) {
      finish_columns<T, V>(in, loss, out, p, column, y, squared_error);
    }
  }
  __syncthreads();
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const T* grad_y = out.grad_y_PD + p * in.shape.width;
  for (int64_t k = threadIdx.x / 32; k < in.shape.k; k += kThreads / 32) {
    const int64_t entry = p * in.shape.k + k;
    const T* row = in.W_O_HD + in.head_PK[entry] * in.shape.width;
    Sum<T> sum{0};
    for (int64_t d = static_cast<int64_t>(lane) * V; d < in.shape.width; d += 32 * V) {
      const auto a = load_pack<V>(grad_y + d);
      const auto b = load_pack<V>(row + d);
#pragma unroll
      for (int v = 0; v < V; ++v) {
        sum += to_sum(a.x[v]) * to_sum(b.x[v]);
      }
    }
    sum = group_sum(sum, 32);
    if (lane == 0) {
      out.grad_value_PK[entry] = grad_value<T>(loss.selection, to_sum(in.value_PK[entry]), sum);
    }
  }
  squared_error = block_sum(squared_error, shared_sum);
  if (threadIdx.x == 0) {
    out.squared_error_P[p] = squared_error;
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
                        const LossOutput<T>& out,
                        double* squared_error,
                        cudaStream_t stream) {
  const DecodeShape& shape = in.shape;
  if (shape.positions > 0) {
    const auto launch = [&](auto kernel, auto... more) {
      kernel<<<static_cast<unsigned>(shape.positions), kThreads, 0, stream>>>(in, loss, out,
                                                                              more...);
      return after_launch(stream);
    };
    const bool packs = packable(in.W_O_HD, shape.width) && packable(loss.target_PD, shape.width) &&
                       packable(out.grad_y_PD, shape.width);
    int lanes = 32;
    while (lanes * shape.k > kStagedPacks) {
      lanes /= 2;
    }
    const cudaError_t error = !packs                   ? launch(loss_kernel<T, 1>)
                              : shape.k <= kStagedRows ? launch(staged_loss_kernel<T>, lanes)
                                                       : launch(loss_kernel<T, kPackWidth<T>>);
    if (error != cudaSuccess) {
      return error;
    }
  }
  sum_kernel<<<1, 1024, 0, stream>>>(out.squared_error_P, shape.positions, squared_error);
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

#define LORSA_INSTANTIATE(T)                                                        \
  template cudaError_t decode<T>(const DecodeInput<T>&, T*, cudaStream_t);          \
  template cudaError_t decode_loss<T>(const DecodeInput<T>&, const LossInput<T>&,   \
                                      const LossOutput<T>&, double*, cudaStream_t); \
  template cudaError_t scatter_kept<T>(const T*, const int32_t*, TopKShape, T*, cudaStream_t);

LORSA_INSTANTIATE(float)
LORSA_INSTANTIATE(double)
LORSA_INSTANTIATE(__nv_bfloat16)
#undef LORSA_INSTANTIATE

}  // namespace lorsa::kernels::cuda
