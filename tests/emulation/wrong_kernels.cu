// Kernels that are wrong on purpose, each in one way, and right ones beside them: what the
// emulation finds (wrong_kernels_test.cpp).
#include <cuda_pipeline_primitives.h>
#include <cuda_runtime.h>

#include "emulation/wrong_kernels.h"
#include "kernels/cuda/tensor_cores.cuh"

namespace lorsa::emulation {
namespace {

constexpr unsigned kAll = 0xffffffffu;

template <int N>
__global__ void reversed(const float* in, float* out) {
  __shared__ float tile[N];
  tile[threadIdx.x] = in[threadIdx.x];
  __syncthreads();
  out[threadIdx.x] = tile[N - 1 - threadIdx.x];
}

__global__ void warp_sums(const float* in, float* out) {
  float sum = in[threadIdx.x];
  for (int offset = 16; offset > 0; offset /= 2) {
    sum += __shfl_down_sync(kAll, sum, offset);
  }
  const unsigned odd = __ballot_sync(kAll, threadIdx.x % 2 == 1);
  if (threadIdx.x % 32 == 0) {
    out[threadIdx.x / 32] = sum + static_cast<float>(__popc(odd));
  }
}

/// Half of a warp by itself.
__global__ void half_warp_sum(const float* in, float* out) {
  if (threadIdx.x < 16) {
    float sum = in[threadIdx.x];
    for (int offset = 8; offset > 0; offset /= 2) {
      sum += __shfl_xor_sync(0xffffu, sum, offset);
    }
    out[threadIdx.x] = sum;
  }
}

__global__ void within_warps(const float* in, float* out) {
  __shared__ float tile[kCells];
  tile[threadIdx.x] = in[threadIdx.x];
  __syncwarp();
  out[threadIdx.x] = tile[threadIdx.x ^ 1u];
}

__global__ void counted(float* out) {
  __shared__ unsigned count;
  if (threadIdx.x == 0) {
    count = 0;
  }
  __syncthreads();
  atomicAdd(&count, 1u);
  __syncthreads();
  if (threadIdx.x == 0) {
    out[blockIdx.y * gridDim.x + blockIdx.x] = static_cast<float>(count);
  }
}

__global__ void reversed_in_dynamic(const float* in, float* out) {
  extern __shared__ float tile[];
  tile[threadIdx.x] = in[threadIdx.x];
  __syncthreads();
  out[threadIdx.x] = tile[blockDim.x - 1 - threadIdx.x];
}

/// A tile that is filled again and again.
__global__ void running_sums(const float* in, float* out, bool last_barrier) {
  __shared__ float tile[32];
  float sum = 0.0f;
  for (unsigned begin = 0; begin < kCells; begin += 32) {
    tile[threadIdx.x] = in[begin + threadIdx.x];
    __syncthreads();
    sum += tile[31 - threadIdx.x];
    if (last_barrier) {
      __syncthreads();
    }
  }
  out[threadIdx.x] = sum;
}

/// A tile that arrives while the one before it is read; a thread reads what another has copied.
__global__ void copied_ahead(const float* in, float* out, unsigned groups_left, bool barrier) {
  __shared__ float tiles[2][32];
  const unsigned i = threadIdx.x;
  __pipeline_memcpy_async(&tiles[0][i], in + i, 4);
  __pipeline_commit();
  __pipeline_memcpy_async(&tiles[1][i], in + 32 + i, 4, i == 31 ? 4 : 0);
  __pipeline_commit();
  __pipeline_wait_prior(groups_left);
  __syncthreads();
  out[i] = tiles[0][31 - i];
  __pipeline_wait_prior(0);
  if (barrier) {
    __syncthreads();
  }
  out[32 + i] = tiles[1][31 - i];
}

/// A tile of 0.0, 1.0 ... 63.0 in bfloat16, transposed, times itself; the others are 0.
__global__ void tile_product(float* out, unsigned lanes, int words_apart) {
  __shared__ __nv_bfloat16 tile[2][8][8];
  for (unsigned i = threadIdx.x; i < 128; i += 32) {
    tile[i / 64][i % 64 / 8][i % 8] = __float2bfloat16_rn(i < 64 ? static_cast<float>(i) : 0.0f);
  }
  __syncthreads();
  uint32_t a[4];
  uint32_t b[4] = {};
  const unsigned lane = threadIdx.x;
  kernels::cuda::load_transposed(&tile[lane < 8 ? 0 : 1][lane % 8][0] + 2 * words_apart, a);
  if (lane < lanes) {
    kernels::cuda::load_transposed(&tile[lane < 8 ? 0 : 1][lane % 8][0], b);
  }
  float sum[4] = {};
  kernels::cuda::multiply_add(a, b[0], b[1], sum);
  // Rows 8 to 15 are 0: 64 numbers.
  out[lane / 4 * 8 + lane % 4 * 2] = sum[0] + sum[2];
  out[lane / 4 * 8 + lane % 4 * 2 + 1] = sum[1] + sum[3];
}

// Meetings.

__global__ void half_meets() {
  if (threadIdx.x < 32) {
    __syncthreads();
  }
}

__global__ void two_barriers() {
  if (threadIdx.x < 32) {
    __syncthreads();
  } else {
    __syncthreads();
  }
}

__global__ void full_mask_in_half_a_warp(float* out) {
  if (threadIdx.x < 16) {
    out[threadIdx.x] = __shfl_down_sync(kAll, 1.0f, 1);
  }
}

__global__ void mask_without_the_lane(float* out) {
  out[threadIdx.x] = __shfl_down_sync(0xffffu, 1.0f, 1);
}

__global__ void two_shuffles(float* out) {
  if (threadIdx.x % 2 == 0) {
    out[threadIdx.x] = __shfl_down_sync(kAll, 1.0f, 1);
  } else {
    out[threadIdx.x] = __shfl_down_sync(kAll, 2.0f, 1);
  }
}

__global__ void barrier_against_shuffle(float* out) {
  if (threadIdx.x < 16) {
    __syncthreads();
  }
  out[threadIdx.x] = __shfl_down_sync(kAll, 1.0f, 1);
}

__global__ void mask_beyond_the_block() {
  __syncwarp();
}

__global__ void too_much_shared() {
  __shared__ char first[40000];
  __shared__ char second[40000];
  first[0] = second[0] = 1;
}

// Accesses.

__global__ void no_barrier(const float* in, float* out) {
  __shared__ float tile[kCells];
  tile[threadIdx.x] = in[threadIdx.x];
  out[threadIdx.x] = threadIdx.x == 0 ? tile[0] : tile[threadIdx.x - 1];
}

__global__ void no_syncwarp(const float* in, float* out) {
  __shared__ float tile[32];
  tile[threadIdx.x] = 0.0f;
  __syncthreads();
  const float other = tile[threadIdx.x ^ 1u];
  tile[threadIdx.x] = __shfl_xor_sync(kAll, in[threadIdx.x], 1) + other;
  out[threadIdx.x] = tile[threadIdx.x];
}

__global__ void all_write_one(const float* in, float* out) {
  out[0] = in[threadIdx.x];
}

__global__ void blocks_write_one(const float* in, float* out) {
  if (threadIdx.x == 0) {
    out[0] = in[blockIdx.x];
  }
}

__global__ void block_reads_another(float* out) {
  if (blockIdx.x == 0) {
    out[threadIdx.x] = 1.0f;
  } else {
    out[32 + threadIdx.x] = out[threadIdx.x];
  }
}

__global__ void plain_beside_atomic(float* out) {
  __shared__ int count;
  if (threadIdx.x == 0) {
    count = 0;
  }
  __syncthreads();
  atomicAdd(&count, 1);
  out[threadIdx.x] = static_cast<float>(count);
}

__global__ void unwritten_shared(float* out) {
  __shared__ float tile[kCells];
  if (threadIdx.x > 0) {
    tile[threadIdx.x] = 1.0f;
  }
  __syncthreads();
  out[threadIdx.x] = tile[kCells - 1 - threadIdx.x];
}

/// Written by one block, read by the next, as memory that nobody clears may let it.
__global__ void shared_of_the_block_before(float* out) {
  __shared__ float tile[32];
  if (blockIdx.x == 0) {
    tile[threadIdx.x] = 1.0f;
  }
  __syncthreads();
  out[blockIdx.x * 32 + threadIdx.x] = tile[threadIdx.x];
}

__global__ void beside_shared(const float* in, float* out) {
  __shared__ float tile[kCells];
  tile[threadIdx.x + 1] = in[threadIdx.x];
  __syncthreads();
  out[threadIdx.x] = tile[threadIdx.x];
}

__global__ void behind_the_buffer(const float* in, float* out) {
  out[threadIdx.x + 1] = in[threadIdx.x];
}

__global__ void before_the_buffer(const float* in, float* out) {
  out[threadIdx.x] = in[static_cast<int>(threadIdx.x) - 1];
}

__global__ void nowhere(const float* in, float* out) {
  out[threadIdx.x] = in[(int64_t{1} << 40) + threadIdx.x];
}

__global__ void null_pointer(const float* nothing, float* out) {
  out[threadIdx.x] = nothing[threadIdx.x];
}

struct alignas(16) FourFloats {
  float x[4];
};

__global__ void misaligned(const float* in, float* out) {
  *reinterpret_cast<FourFloats*>(out) = *reinterpret_cast<const FourFloats*>(in + 1);
}

// The order of threads.

__global__ void first_come(float* out) {
  __shared__ unsigned num_kept;
  if (threadIdx.x == 0) {
    num_kept = 0;
  }
  __syncthreads();
  out[atomicAdd(&num_kept, 1u)] = static_cast<float>(threadIdx.x);
}

__global__ void atomic_sum(const float* in, float* out) {
  __shared__ float sum;
  if (threadIdx.x == 0) {
    sum = 0.0f;
  }
  __syncthreads();
  atomicAdd(&sum, in[threadIdx.x] * 0.1f);
  __syncthreads();
  if (threadIdx.x == 0) {
    out[0] = sum;
  }
}

__global__ void last_block(unsigned* ticket, float* out) {
  if (threadIdx.x == 0 && atomicAdd(ticket, 1u) == gridDim.x - 1) {
    out[1] = static_cast<float>(blockIdx.x);
  }
}

unsigned* ticket_in(float* out) {
  *out = 0.0f;  // the same bits
  return reinterpret_cast<unsigned*>(out);
}

}  // namespace

const Example kRight[9] = {
    {"a tile behind a barrier",
     [](const float* in, float* out) { reversed<kCells><<<1, kCells>>>(in, out); }},
    {"shuffles and ballots of whole warps",
     [](const float* in, float* out) { warp_sums<<<1, kCells>>>(in, out); }},
    {"shuffles of half a warp",
     [](const float* in, float* out) { half_warp_sum<<<1, 32>>>(in, out); }},
    {"a tile behind __syncwarp()",
     [](const float* in, float* out) { within_warps<<<1, kCells>>>(in, out); }},
    {"atomics, a grid of two dimensions",
     [](const float*, float* out) { counted<<<dim3(5, 3), 96>>>(out); }},
    {"dynamic shared memory",
     [](const float* in, float* out) {
       reversed_in_dynamic<<<1, kCells, kCells * sizeof(float)>>>(in, out);
     }},
    {"a tile filled again behind a second barrier",
     [](const float* in, float* out) { running_sums<<<1, 32>>>(in, out, true); }},
    {"tiles copied ahead",
     [](const float* in, float* out) { copied_ahead<<<1, 32>>>(in, out, 1, true); }},
    {"a product of tensor cores",
     [](const float*, float* out) { tile_product<<<1, 32>>>(out, 32, 0); }},
};

const WrongExample kWrongMeetings[10] = {
    {"a barrier that half of the block reaches",
     [](const float*, float*) { half_meets<<<1, kCells>>>(); }, "half_meets",
     "32 of the block's 64"},
    {"a barrier in each branch", [](const float*, float*) { two_barriers<<<1, kCells>>>(); },
     "two_barriers", "at that of"},
    {"a full mask in half a warp",
     [](const float*, float* out) { full_mask_in_half_a_warp<<<1, 32>>>(out); },
     "full_mask_in_half_a_warp", "mask"},
    {"a mask without the lane that calls",
     [](const float*, float* out) { mask_without_the_lane<<<1, 32>>>(out); },
     "mask_without_the_lane", "does not name it"},
    {"a shuffle in each branch", [](const float*, float* out) { two_shuffles<<<1, 32>>>(out); },
     "two_shuffles", "different calls"},
    {"a barrier against a shuffle",
     [](const float*, float* out) { barrier_against_shuffle<<<1, 32>>>(out); },
     "barrier_against_shuffle", "__syncthreads()"},
    {"a full mask where the block ends",
     [](const float*, float*) { mask_beyond_the_block<<<1, 16>>>(); }, "mask_beyond_the_block",
     "lanes that the block does not have"},
    {"more than 48 KiB of shared memory",
     [](const float*, float*) { too_much_shared<<<1, 32>>>(); }, "too_much_shared", "80000 bytes"},
    {"a tile that half of a warp loads",
     [](const float*, float* out) { tile_product<<<1, 32>>>(out, 16, 0); }, "tile_product",
     "different calls"},
    {"a tile's row at no multiple of 16 bytes",
     [](const float*, float* out) { tile_product<<<1, 32>>>(out, 32, 1); }, "tile_product",
     "multiple of 16 bytes"},
};

const WrongExample kWrongAccesses[17] = {
    {"a missing barrier", [](const float* in, float* out) { no_barrier<<<1, kCells>>>(in, out); },
     "no_barrier", "shared variable tile"},
    {"a tile filled again without a second barrier",
     [](const float* in, float* out) { running_sums<<<1, 32>>>(in, out, false); }, "running_sums",
     "a race"},
    {"a shuffle in place of __syncwarp()",
     [](const float* in, float* out) { no_syncwarp<<<1, 32>>>(in, out); }, "no_syncwarp", "a race"},
    {"threads that write the same",
     [](const float* in, float* out) { all_write_one<<<1, 32>>>(in, out); }, "all_write_one",
     "a race"},
    {"blocks that write the same",
     [](const float* in, float* out) { blocks_write_one<<<4, 32>>>(in, out); }, "blocks_write_one",
     "too: a race"},
    {"a block that reads what another writes",
     [](const float*, float* out) { block_reads_another<<<2, 32>>>(out); }, "block_reads_another",
     "too: a race"},
    {"a plain read beside atomics",
     [](const float*, float* out) { plain_beside_atomic<<<1, 32>>>(out); }, "plain_beside_atomic",
     "shared variable count"},
    {"shared memory that nobody has written",
     [](const float*, float* out) { unwritten_shared<<<1, kCells>>>(out); }, "unwritten_shared",
     "bytes 0 to 3 of the shared variable tile of 256, which no thread of the block has written"},
    {"shared memory of the block before",
     [](const float*, float* out) { shared_of_the_block_before<<<2, 32>>>(out); },
     "shared_of_the_block_before", "which no thread of the block has written"},
    {"a write behind a shared variable",
     [](const float* in, float* out) { beside_shared<<<1, kCells>>>(in, out); }, "beside_shared",
     "thread (63, 0, 0): writes bytes 256 to 259 of the shared variable tile"},
    {"a write behind a buffer",
     [](const float* in, float* out) { behind_the_buffer<<<1, kCells>>>(in, out); },
     "behind_the_buffer", "thread (63, 0, 0): writes bytes 256 to 259 of a buffer of 256: outside"},
    {"a read before a buffer",
     [](const float* in, float* out) { before_the_buffer<<<1, kCells>>>(in, out); },
     "before_the_buffer", "thread (0, 0, 0): reads bytes -4 to -1 of a buffer of 256: outside"},
    {"a read far from all buffers",
     [](const float* in, float* out) { nowhere<<<1, 32>>>(in, out); }, "nowhere",
     "lie in no buffer"},
    {"a null pointer", [](const float*, float* out) { null_pointer<<<1, 32>>>(nullptr, out); },
     "null_pointer", "lie in no buffer"},
    {"a pack at no multiple of its size",
     [](const float* in, float* out) { misaligned<<<1, 1>>>(in, out); }, "misaligned",
     "bytes 4 to 19 of a buffer of 256: misaligned by 4"},
    {"a copy that nobody waits for",
     [](const float* in, float* out) { copied_ahead<<<1, 32>>>(in, out, 2, true); }, "copied_ahead",
     "which no thread of the block has written"},
    {"a copy that only its own thread waits for",
     [](const float* in, float* out) { copied_ahead<<<1, 32>>>(in, out, 1, false); },
     "copied_ahead", "shared variable tiles"},
};

const Example kOrderDependent[3] = {
    {"the slot of who comes first",
     [](const float*, float* out) { first_come<<<1, kCells>>>(out); }},
    {"a sum by atomics", [](const float* in, float* out) { atomic_sum<<<1, kCells>>>(in, out); }},
    {"the block that comes last",
     [](const float*, float* out) { last_block<<<20, 32>>>(ticket_in(out), out); }},
};

}  // namespace lorsa::emulation
