#include "kernels/cuda/query_rows.cuh"

namespace lorsa::kernels::cuda {
namespace {

constexpr int kThreads = 256;
/// Positions of a word.
constexpr int kBits = 32;
/// QK heads of a block that sets bits: 8 KB of shared memory.
constexpr int kHeads = 2048;

/// acts_SW: bit i of word w of QK head s says whether position 32 w + i has a gradient.
__global__ void __launch_bounds__(kThreads) set_bits_kernel(const __nv_bfloat16* grad_PK,
                                                            const int32_t* head_PK,
                                                            QueryRowsShape n,
                                                            uint32_t* acts_SW) {
  __shared__ unsigned acts[kHeads];
  const int64_t first_head = static_cast<int64_t>(blockIdx.y) * kHeads;
  const int64_t heads = n.qk_heads - first_head < kHeads ? n.qk_heads - first_head : kHeads;
  for (int s = static_cast<int>(threadIdx.x); s < heads; s += kThreads) {
    acts[s] = 0;
  }
  __syncthreads();
  const int64_t begin = static_cast<int64_t>(blockIdx.x) * kBits;
  const auto rows =
      static_cast<unsigned>(n.positions - begin < kBits ? n.positions - begin : kBits);
  const auto k = static_cast<unsigned>(n.k);
  for (unsigned i = threadIdx.x; i < rows * k; i += kThreads) {
    const int64_t entry = begin * n.k + i;
    if (to_sum(grad_PK[entry]) != 0.0f) {
      const int64_t s = head_PK[entry] / n.group - first_head;
      if (s >= 0 && s < heads) {
        atomicOr(&acts[s], 1u << (i / k));
      }
    }
  }
  __syncthreads();
  for (int s = static_cast<int>(threadIdx.x); s < heads; s += kThreads) {
    acts_SW[(first_head + s) * gridDim.x + blockIdx.x] = acts[s];
  }
}

/// The places of all bits of the block's QK head, in order.
__global__ void __launch_bounds__(kThreads) list_bits_kernel(const uint32_t* acts_SW,
                                                             QueryRowsShape n,
                                                             int32_t* position_SP,
                                                             int* count_S) {
  constexpr int kWarps = kThreads / 32;
  __shared__ int total_of_warp[kWarps];
  const int tid = static_cast<int>(threadIdx.x);
  const int lane = tid % 32;
  const int warp = tid / 32;
  const int64_t s = blockIdx.x;
  const int64_t words = (n.positions + kBits - 1) / kBits;
  int32_t* list = position_SP + s * n.positions;
  int total = 0;
  for (int64_t first = 0; first < words; first += kThreads) {
    const int64_t word = first + tid;
    unsigned bits = word < words ? acts_SW[s * words + word] : 0;
    const int own = __popc(bits);
    int up_to = own;  // that of the warp's threads up to this one
    for (int offset = 1; offset < 32; offset *= 2) {
      const int before = __shfl_up_sync(0xffffffffu, up_to, static_cast<unsigned>(offset));
      up_to += lane >= offset ? before : 0;
    }
    if (lane == 31) {
      total_of_warp[warp] = up_to;
    }
    __syncthreads();
    int place = total + up_to - own;
    for (int other = 0; other < kWarps; ++other) {
      place += other < warp ? total_of_warp[other] : 0;
      total += total_of_warp[other];
    }
    for (; bits != 0; bits &= bits - 1) {
      list[place++] = static_cast<int32_t>(word * kBits + __ffs(static_cast<int>(bits)) - 1);
    }
    __syncthreads();
  }
  if (tid == 0) {
    count_S[s] = total;
  }
}

}  // namespace

cudaError_t query_rows(const __nv_bfloat16* grad_PK,
                       const int32_t* head_PK,
                       const QueryRowsShape& shape,
                       uint32_t* words,
                       int32_t* position_SP,
                       int32_t* count_S,
                       cudaStream_t stream) {
  if (shape.positions >= int64_t{1} << 30 || shape.k >= int64_t{1} << 25) {
    return cudaErrorInvalidValue;
  }
  if (shape.qk_heads == 0) {
    return cudaSuccess;
  }
  if (shape.positions > 0) {
    const dim3 blocks(static_cast<unsigned>((shape.positions + kBits - 1) / kBits),
                      static_cast<unsigned>((shape.qk_heads + kHeads - 1) / kHeads));
    set_bits_kernel<<<blocks, kThreads, 0, stream>>>(grad_PK, head_PK, shape, words);
    const cudaError_t error = after_launch(stream);
    if (error != cudaSuccess) {
      return error;
    }
  }
  list_bits_kernel<<<static_cast<unsigned>(shape.qk_heads), kThreads, 0, stream>>>(
      words, shape, position_SP, count_S);
  return after_launch(stream);
}

}  // namespace lorsa::kernels::cuda
