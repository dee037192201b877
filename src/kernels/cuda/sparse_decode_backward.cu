#include <cub/device/device_radix_sort.cuh>

#include "kernels/cuda/sparse_decode.cuh"

namespace lorsa::kernels::cuda {
namespace {

constexpr int kThreads = 128;
constexpr int kTile = 128;
/// A multiple of kTile: a head that acts everywhere takes no longer than others.
constexpr int64_t kPart = kDecodePart;

int64_t num_parts(DecodeShape shape) {
  return (shape.positions * shape.k + kPart - 1) / kPart;
}

/// Scratch of decode_backward, carved out of one allocation; every part is aligned to 256 bytes.
template <typename T>
struct Workspace {
  uint32_t* key = nullptr;
  uint32_t* sorted_key = nullptr;
  uint32_t* entry = nullptr;
  uint32_t* sorted_entry = nullptr;
  int64_t* offset_H1 = nullptr;
  Sum<T>* edge = nullptr;  ///< [parts, 2, D]: what a part has of heads that reach over its edges
  void* cub = nullptr;
  size_t cub_bytes = 0;
  size_t total_bytes = 0;

  Workspace(void* base, DecodeShape shape) {
    const auto entries = static_cast<size_t>(shape.positions * shape.k);
    size_t used = 0;
    const auto take = [&](size_t bytes) {
      void* part = base == nullptr ? nullptr : static_cast<char*>(base) + used;
      used += (bytes + 255) / 256 * 256;
      return part;
    };
    key = static_cast<uint32_t*>(take(entries * sizeof(uint32_t)));
    sorted_key = static_cast<uint32_t*>(take(entries * sizeof(uint32_t)));
    entry = static_cast<uint32_t*>(take(entries * sizeof(uint32_t)));
    sorted_entry = static_cast<uint32_t*>(take(entries * sizeof(uint32_t)));
    offset_H1 = static_cast<int64_t*>(take(static_cast<size_t>(shape.heads + 1) * sizeof(int64_t)));
    edge = static_cast<Sum<T>*>(
        take(static_cast<size_t>(num_parts(shape) * 2 * shape.width) * sizeof(Sum<T>)));
    query_error = sort(nullptr, shape, nullptr);
    cub = take(cub_bytes);
    total_bytes = used;
  }

  /// Stable sort by head; with `temporary` null only sets cub_bytes.
  cudaError_t sort(void* temporary, DecodeShape shape, cudaStream_t stream) {
    int bits = 1;  // keys are 0 .. H
    while ((int64_t{1} << bits) <= shape.heads) {
      ++bits;
    }
    return cub::DeviceRadixSort::SortPairs(
        temporary, cub_bytes, key, sorted_key, entry, sorted_entry,
        static_cast<int>(shape.positions * shape.k), 0, bits, stream);
  }

  cudaError_t query_error = cudaSuccess;
};

template <typename T>
__global__ void key_kernel(BackwardInput<T> in, uint32_t* key, uint32_t* entry) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i < in.shape.positions * in.shape.k) {
    // Entries without activation sort behind the last head, where nobody reads them.
    const bool acts = to_sum(in.value_PK[i]) != Sum<T>{0};
    key[i] = static_cast<uint32_t>(acts ? static_cast<int64_t>(in.head_PK[i]) : in.shape.heads);
    entry[i] = static_cast<uint32_t>(i);
  }
}

/// offset_H1[h] = number of sorted keys below h.
__global__ void offset_kernel(const uint32_t* sorted_key,
                              int64_t entries,
                              int64_t heads,
                              int64_t* offset_H1) {
  const int64_t h = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (h > heads) {
    return;
  }
  int64_t low = 0;
  int64_t high = entries;
  while (low < high) {
    const int64_t middle = (low + high) / 2;
    if (static_cast<int64_t>(sorted_key[middle]) < h) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  offset_H1[h] = low;
}

/// The block of a part and of kThreads * V columns adds value * grad_y over the part's entries. A
/// head that begins and ends in the part is written; of another the part's share goes to `edge`:
/// row 0 for a head that began before, row 1 for one that begins here.
template <typename T, int V>
__global__ void __launch_bounds__(kThreads) grad_W_O_kernel(BackwardInput<T> in,
                                                            const uint32_t* sorted_key,
                                                            const uint32_t* sorted_entry,
                                                            const int64_t* offset_H1,
                                                            Sum<T>* edge,
                                                            Sum<T>* grad_W_O_HD) {
  __shared__ Sum<T> value[kTile];
  __shared__ int64_t position[kTile];
  __shared__ int64_t head[kTile];
  const int64_t part = blockIdx.x;
  const int64_t begin = part * kPart;
  const int64_t acting = offset_H1[in.shape.heads];
  const int64_t end = begin + kPart < acting ? begin + kPart : acting;
  const int tid = static_cast<int>(threadIdx.x);
  const int64_t column = (static_cast<int64_t>(blockIdx.y) * kThreads + tid) * V;
  const bool active = column < in.shape.width;
  Pack<Sum<T>, V> sum = {};
  for (int64_t tile = begin; tile < end; tile += kTile) {
    const int count = static_cast<int>(end - tile < kTile ? end - tile : kTile);
    __syncthreads();
    for (int i = tid; i < count; i += kThreads) {
      const int64_t entry = sorted_entry[tile + i];
      value[i] = to_sum(in.value_PK[entry]);
      position[i] = entry / in.shape.k;
      head[i] = sorted_key[tile + i];
    }
    __syncthreads();
    for (int run = 0; active && run < count;) {
      const int64_t h = head[run];
      const int64_t last = offset_H1[h + 1] < end ? offset_H1[h + 1] : end;
      const int stop = last - tile < count ? static_cast<int>(last - tile) : count;
#pragma unroll 4
      for (int i = run; i < stop; ++i) {
        const auto row = load_pack<V>(in.grad_y_PD + position[i] * in.shape.width + column);
#pragma unroll
        for (int v = 0; v < V; ++v) {
          sum.x[v] += value[i] * to_sum(row.x[v]);
        }
      }
      run = stop;
      if (tile + stop == last) {
        const bool began_before = offset_H1[h] < begin;
        const bool goes_on = offset_H1[h + 1] > end;
        Sum<T>* row = began_before || goes_on
                          ? edge + (part * 2 + (began_before ? 0 : 1)) * in.shape.width
                          : grad_W_O_HD + h * in.shape.width;
        store_pack<V>(row + column, sum);
        sum = {};
      }
    }
  }
}

/// One block per head: zeros for one that acts nowhere, the sum over parts, in order, for one that
/// reaches over an edge; grad_W_O_kernel has written the others.
template <typename S, int V>
__global__ void __launch_bounds__(kThreads) grad_W_O_edges_kernel(DecodeShape shape,
                                                                  const int64_t* offset_H1,
                                                                  const S* edge,
                                                                  S* grad_W_O_HD) {
  const int64_t h = blockIdx.x;
  const int64_t first = offset_H1[h];
  const int64_t last = offset_H1[h + 1];
  const int64_t first_part = first / kPart;
  const int64_t last_part = (last - 1) / kPart;
  if (first < last && first_part == last_part) {
    return;
  }
  for (int64_t column = static_cast<int64_t>(threadIdx.x) * V; column < shape.width;
       column += kThreads * V) {
    Pack<S, V> sum = {};
    if (first < last) {
      sum = load_pack<V>(edge + (first_part * 2 + 1) * shape.width + column);
#pragma unroll 4
      for (int64_t part = first_part + 1; part <= last_part; ++part) {
        const auto share = load_pack<V>(edge + part * 2 * shape.width + column);
#pragma unroll
        for (int v = 0; v < V; ++v) {
          sum.x[v] += share.x[v];
        }
      }
    }
    store_pack<V>(grad_W_O_HD + h * shape.width + column, sum);
  }
}

/// Blocks of 32 columns by 32 rows; every thread sums each 32nd row, then the 32 partial sums are
/// added in order.
template <typename T>
__global__ void __launch_bounds__(1024)
    column_sum_kernel(const T* x_PD, int64_t positions, int64_t width, Sum<T>* sum_D) {
  __shared__ double partial[32][33];
  const int64_t column = static_cast<int64_t>(blockIdx.x) * 32 + threadIdx.x;
  double sum = 0.0;
  if (column < width) {
    for (int64_t p = threadIdx.y; p < positions; p += 32) {
      sum += static_cast<double>(to_sum(x_PD[p * width + column]));
    }
  }
  partial[threadIdx.y][threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.y == 0 && column < width) {
    double total = 0.0;
    for (int i = 0; i < 32; ++i) {
      total += partial[i][threadIdx.x];
    }
    sum_D[column] = static_cast<Sum<T>>(total);
  }
}

unsigned blocks_for(int64_t items, int threads) {
  return static_cast<unsigned>((items + threads - 1) / threads);
}

template <typename T>
cudaError_t grad_W_O(const BackwardInput<T>& in,
                     Sum<T>* grad_W_O_HD,
                     Workspace<T>& workspace,
                     cudaStream_t stream) {
  const int64_t entries = in.shape.positions * in.shape.k;
  cudaError_t error = cudaSuccess;
  if (entries > 0) {
    key_kernel<<<blocks_for(entries, 256), 256, 0, stream>>>(in, workspace.key, workspace.entry);
    error = after_launch(stream);
    if (error == cudaSuccess) {
      error = workspace.sort(workspace.cub, in.shape, stream);
    }
  }
  if (error != cudaSuccess || in.shape.heads == 0) {
    return error;
  }
  offset_kernel<<<blocks_for(in.shape.heads + 1, 256), 256, 0, stream>>>(
      workspace.sorted_key, entries, in.shape.heads, workspace.offset_H1);
  error = after_launch(stream);
  if (error != cudaSuccess) {
    return error;
  }
  const auto launch = [&](auto kernel, int columns) {
    const dim3 blocks(static_cast<unsigned>(num_parts(in.shape)),
                      blocks_for(in.shape.width, kThreads * columns));
    kernel<<<blocks, kThreads, 0, stream>>>(in, workspace.sorted_key, workspace.sorted_entry,
                                            workspace.offset_H1, workspace.edge, grad_W_O_HD);
    return after_launch(stream);
  };
  if (entries > 0) {
    const bool packs =
        packable(in.grad_y_PD, in.shape.width) && packable(grad_W_O_HD, in.shape.width);
    error = packs ? launch(grad_W_O_kernel<T, kPackWidth<T>>, kPackWidth<T>)
                  : launch(grad_W_O_kernel<T, 1>, 1);
  }
  if (error != cudaSuccess) {
    return error;
  }
  const auto launch_edges = [&](auto kernel) {
    kernel<<<static_cast<unsigned>(in.shape.heads), kThreads, 0, stream>>>(
        in.shape, workspace.offset_H1, workspace.edge, grad_W_O_HD);
    return after_launch(stream);
  };
  return packable(grad_W_O_HD, in.shape.width)
             ? launch_edges(grad_W_O_edges_kernel<Sum<T>, kPackWidth<Sum<T>>>)
             : launch_edges(grad_W_O_edges_kernel<Sum<T>, 1>);
}

}  // namespace

template <typename T>
size_t decode_backward_workspace_bytes(DecodeShape shape) {
  // More is refused by decode_backward(), and CUB's counts would wrap.
  return shape.positions * shape.k > INT32_MAX ? 0 : Workspace<T>(nullptr, shape).total_bytes;
}

template <typename T>
cudaError_t decode_backward(const BackwardInput<T>& in,
                            const BackwardOutput<T>& out,
                            void* workspace_base,
                            cudaStream_t stream) {
  const int64_t width = in.shape.width;
  if (in.shape.positions * in.shape.k > INT32_MAX) {
    return cudaErrorInvalidValue;
  }
  if (width == 0) {
    return cudaErrorInvalidValue;
  }
  Workspace<T> workspace(workspace_base, in.shape);
  if (workspace.query_error != cudaSuccess) {
    return workspace.query_error;
  }
  const cudaError_t error = grad_W_O(in, out.grad_W_O_HD, workspace, stream);
  if (error != cudaSuccess) {
    return error;
  }
  column_sum_kernel<<<blocks_for(width, 32), dim3(32, 32), 0, stream>>>(
      in.grad_y_PD, in.shape.positions, width, out.grad_b_D);
  return after_launch(stream);
}

#define LORSA_INSTANTIATE(T)                                                                 \
  template size_t decode_backward_workspace_bytes<T>(DecodeShape);                           \
  template cudaError_t decode_backward<T>(const BackwardInput<T>&, const BackwardOutput<T>&, \
                                          void*, cudaStream_t);

LORSA_INSTANTIATE(float)
LORSA_INSTANTIATE(double)
LORSA_INSTANTIATE(__nv_bfloat16)
#undef LORSA_INSTANTIATE

}  // namespace lorsa::kernels::cuda
