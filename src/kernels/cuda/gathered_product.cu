#include <cuda_pipeline_primitives.h>

#include "kernels/cuda/gathered_product.cuh"
#include "kernels/cuda/tensor_cores.cuh"

namespace lorsa::kernels::cuda {
namespace {

/// Of x in a block's tile. A tile of 128 x 256 makes 85 FLOPs of every byte that it reads, mostly
/// from the second-level cache; one of 128 x 128 would make 64 and wait for that cache: at 500
/// TFLOP/s it reads 7.8 TB/s.
constexpr int kColumns = 256;
/// Positions of a step.
constexpr int kTerms = 32;
/// Steps in shared memory: one is multiplied, the others are on their way.
constexpr int kStages = 3;
/// Rows and columns of the result that a warp has in registers.
constexpr int kWarpTile = 64;
/// A tensor core's product is 16 x 8 over 16 terms; right operands are loaded in pairs.
constexpr int kFragment = 16;
constexpr int kFragments = kWarpTile / kFragment;
/// Moves every row on by 4 banks, so that 16 bytes of 8 rows, which are read together, lie in all
/// 32.
constexpr int kPadding = 8;
/// Elements of a copy of 16 bytes.
constexpr int kPack = kPackWidth<__nv_bfloat16>;

template <int kRows>
constexpr int kThreads = (kRows / kWarpTile) * (kColumns / kWarpTile) * 32;

/// The rows of a step.
template <int kRows>
struct alignas(16) Stage {
  __nv_bfloat16 grad[kTerms][kRows + kPadding];
  __nv_bfloat16 x[kTerms][kColumns + kPadding];
};

/// Where a block's tile of the result lies.
struct Tile {
  int64_t head = 0;
  int64_t row = 0;
  int64_t column = 0;
};

/// Heads lie beside one another, so that all of them read the same columns of x at about the same
/// time: 32 MiB of them for 65,536 positions, which an H200's second-level cache of 50 MB holds.
template <int kRows>
__device__ __forceinline__ Tile tile_of_block(const GatheredInput& in) {
  const int64_t tiles_of_head = (in.head_width + kRows - 1) / kRows;
  const int64_t heads_tiles = in.qk_heads * tiles_of_head;
  const int64_t i = blockIdx.x;
  return {i % heads_tiles / tiles_of_head, i % heads_tiles % tiles_of_head * kRows,
          i / heads_tiles * kColumns};
}

/// Sends what a position has of a tile on its way to row `term` of a stage; zeros past E and D, and
/// for a negative position.
template <int kRows>
__device__ __forceinline__ void copy_row(
    const GatheredInput& in, const Tile& tile, int64_t position, int term, Stage<kRows>& stage) {
  constexpr int kThreadsOfRow = kThreads<kRows> / kTerms;
  const int first = static_cast<int>(threadIdx.x) % kThreadsOfRow * kPack;
  const bool there = position >= 0;
  const int64_t p = there ? position : 0;
  const __nv_bfloat16* grad =
      in.grad_PSE + (p * in.qk_heads + tile.head) * in.head_width + tile.row;
  const __nv_bfloat16* x = in.x_PD + p * in.width + tile.column;
#pragma unroll
  for (int i = first; i < kRows; i += kThreadsOfRow * kPack) {
    __pipeline_memcpy_async(&stage.grad[term][i], grad + i, 16,
                            there && tile.row + i < in.head_width ? 0 : 16);
  }
#pragma unroll
  for (int i = first; i < kColumns; i += kThreadsOfRow * kPack) {
    __pipeline_memcpy_async(&stage.x[term][i], x + i, 16,
                            there && tile.column + i < in.width ? 0 : 16);
  }
}

/// What a lane has of a warp's 64 x 64 tile: [i][j] are its 4 sums of the 16 x 8 at row 16 i and
/// column 8 j.
using Sums = float[kFragments][2 * kFragments][4];

/// Adds a stage's products to the warp's tile, which starts at `row` and `column` of the block's.
template <int kRows>
__device__ __forceinline__ void multiply(const Stage<kRows>& stage,
                                         int row,
                                         int column,
                                         Sums& sum) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  // The gradient's tiles: terms 0-7 at rows 0-7, at rows 8-15, then terms 8-15. Those of x: terms
  // 0-7 and 8-15 at columns 0-7, then at columns 8-15.
  const __nv_bfloat16* grad = &stage.grad[lane / 16 * 8 + lane % 8][row + lane / 8 % 2 * 8];
  const __nv_bfloat16* x = &stage.x[lane / 8 % 2 * 8 + lane % 8][column + lane / 16 * 8];
#pragma unroll
  for (int term = 0; term < kTerms; term += kFragment) {
    uint32_t a[kFragments][4];
#pragma unroll
    for (int i = 0; i < kFragments; ++i) {
      load_transposed(grad + term * (kRows + kPadding) + i * kFragment, a[i]);
    }
#pragma unroll
    for (int j = 0; j < kFragments; ++j) {
      uint32_t b[4];
      load_transposed(x + term * (kColumns + kPadding) + j * kFragment, b);
#pragma unroll
      for (int i = 0; i < kFragments; ++i) {
        multiply_add(a[i], b[0], b[1], sum[i][2 * j]);
        multiply_add(a[i], b[2], b[3], sum[i][2 * j + 1]);
      }
    }
  }
}

/// Writes what of a warp's tile lies within E and D.
__device__ __forceinline__ void write(const GatheredInput& in,
                                      int64_t head,
                                      int64_t first_row,
                                      int64_t first_column,
                                      const Sums& sum,
                                      float* weight_SED) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
#pragma unroll
  for (int i = 0; i < 2 * kFragments; ++i) {
    const int64_t e = first_row + i * 8 + lane / 4;
#pragma unroll
    for (int j = 0; j < 2 * kFragments; ++j) {
      const int64_t d = first_column + j * 8 + lane % 4 * 2;
      if (e < in.head_width && d < in.width) {
        const float* pair = sum[i / 2][j] + i % 2 * 2;
        store_pack<2>(weight_SED + (head * in.head_width + e) * in.width + d,
                      Pack<float, 2>{{pair[0], pair[1]}});
      }
    }
  }
}

template <int kRows>
__global__ void __launch_bounds__(kThreads<kRows>, 1)
    gathered_product_kernel(GatheredInput in, float* weight_SED, float* bias_SE) {
  extern __shared__ Pack<__nv_bfloat16, kPack> memory[];
  auto* stages = reinterpret_cast<Stage<kRows>*>(memory);
  const int tid = static_cast<int>(threadIdx.x);
  const Tile tile = tile_of_block<kRows>(in);
  const int count = in.count_S[tile.head];
  const int32_t* list = in.position_SP + tile.head * in.positions;
  const int term = tid / (kThreads<kRows> / kTerms);
  const auto position_of = [&](int step) {
    const int i = step * kTerms + term;
    return i < count ? list[i] : -1;
  };
  constexpr int kWarpsAcross = kColumns / kWarpTile;
  const int row = tid / 32 / kWarpsAcross * kWarpTile;
  const int column = tid / 32 % kWarpsAcross * kWarpTile;
  const bool sums_rows = tile.column == 0 && tid < kRows;
  float row_sum = 0.0f;
  Sums sum = {};

  // The list is read a step before the rows that it names.
  int next = position_of(0);
  for (int step = 0; step < kStages - 1; ++step) {
    copy_row(in, tile, next, term, stages[step]);
    __pipeline_commit();
    next = position_of(step + 1);
  }
  for (int step = 0; step * kTerms < count; ++step) {
    __pipeline_wait_prior(kStages - 2);
    __syncthreads();  // all see the step, and have done with the one whose stage is filled again
    copy_row(in, tile, next, term, stages[(step + kStages - 1) % kStages]);
    __pipeline_commit();
    next = position_of(step + kStages);
    const Stage<kRows>& stage = stages[step % kStages];
    multiply(stage, row, column, sum);
    if (sums_rows) {
      float of_step = 0.0f;
      for (int i = 0; i < kTerms; ++i) {
        of_step += to_sum(stage.grad[i][tid]);
      }
      row_sum += of_step;
    }
  }

  if (sums_rows && tile.row + tid < in.head_width) {
    bias_SE[tile.head * in.head_width + tile.row + tid] = row_sum;
  }
  write(in, tile.head, tile.row + row, tile.column + column, sum, weight_SED);
}

template <int kRows>
cudaError_t launch(const GatheredInput& in,
                   float* weight_SED,
                   float* bias_SE,
                   cudaStream_t stream) {
  constexpr int kBytes = kStages * static_cast<int>(sizeof(Stage<kRows>));
  const cudaError_t error = cudaFuncSetAttribute(
      gathered_product_kernel<kRows>, cudaFuncAttributeMaxDynamicSharedMemorySize, kBytes);
  if (error != cudaSuccess) {
    return error;
  }
  const int64_t blocks =
      in.qk_heads * ((in.head_width + kRows - 1) / kRows) * ((in.width + kColumns - 1) / kColumns);
  gathered_product_kernel<kRows>
      <<<static_cast<unsigned>(blocks), kThreads<kRows>, kBytes, stream>>>(in, weight_SED, bias_SE);
  return after_launch(stream);
}

}  // namespace

cudaError_t gathered_product(const GatheredInput& in,
                             float* weight_SED,
                             float* bias_SE,
                             cudaStream_t stream) {
  if (in.positions >= int64_t{1} << 30 || in.head_width % kFragment != 0 ||
      in.width % kFragment != 0 || !packable(in.grad_PSE, in.head_width) ||
      !packable(in.x_PD, in.width) || !packable(weight_SED, in.width)) {
    return cudaErrorInvalidValue;
  }
  if (in.qk_heads * in.head_width * in.width == 0) {
    return cudaSuccess;
  }
  return in.head_width <= kWarpTile ? launch<kWarpTile>(in, weight_SED, bias_SE, stream)
                                    : launch<2 * kWarpTile>(in, weight_SED, bias_SE, stream);
}

}  // namespace lorsa::kernels::cuda
