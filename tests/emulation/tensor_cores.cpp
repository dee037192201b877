// What tensor cores do for a warp, as src/kernels/cuda/tensor_cores.cuh says which lane holds what.
#include <cstring>

#include "emulation/block.h"
#include "emulation/buffers.h"
#include "emulation/memory.h"

namespace lorsa::emulation {
namespace {

constexpr unsigned kAll = 0xffffffffu;
constexpr int kTile = 8;

/// A lane's element of a tile: its place in it, and which half of the lane's word.
uint32_t element(const char* row, int column, int half) {
  const char* address = row + 2 * column;
  if (accesses_are_checked()) {
    check_access(address, 2, 2, Access::kRead);
  }
  uint16_t bits = 0;
  std::memcpy(&bits, address, sizeof bits);
  return static_cast<uint32_t>(bits) << (16 * half);
}

float half_of(uint32_t word, int half) {
  const uint32_t bits = half == 0 ? word << 16 : word & 0xffff0000u;
  float value = 0;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

/// What a lane brings to a product.
struct Factors {
  const uint32_t* a;
  const uint32_t* b;
  const float* sum;
};

const Factors& factors_of(const WarpValues& lanes, int lane) {
  return *reinterpret_cast<const Factors*>(lanes.of[lane]);
}

/// Element (row, column) of a [16, 16].
float a_at(const WarpValues& lanes, int row, int column) {
  const int lane = row % kTile * 4 + column % kTile / 2;
  return half_of(factors_of(lanes, lane).a[row / kTile + column / kTile * 2], column % 2);
}

/// Element (row, column) of b [16, 8].
float b_at(const WarpValues& lanes, int row, int column) {
  const int lane = column * 4 + row % kTile / 2;
  return half_of(factors_of(lanes, lane).b[row / kTile], row % 2);
}

}  // namespace

void load_transposed(const void* row, uint32_t (&tile)[4], const Place& place) {
  const char* rows[kWarpSize] = {};
  const auto address = reinterpret_cast<uintptr_t>(row);
  if (!in_shared_memory(address) || address % 16 != 0) {
    fail_thread("loads a tile at " + text(place) +
                " whose row is not shared or not at a multiple of 16 bytes");
  }

  struct Lane {
    uintptr_t row;
    const char** rows;
  } own = {address, rows};

  meet_warp(kAll, reinterpret_cast<uintptr_t>(&own), place, Meeting::kExchange,
            [](const WarpValues& lanes, int lane) {
              const auto of = [&](int i) -> const Lane& {
                return *reinterpret_cast<const Lane*>(lanes.of[i]);
              };
              for (int i = 0; i < kWarpSize; ++i) {
                of(lane).rows[i] = reinterpret_cast<const char*>(of(i).row);
              }
              return uint64_t{0};
            });
  const int lane = static_cast<int>(block.current) % kWarpSize;
  for (int i = 0; i < 4; ++i) {
    const char** tile_rows = rows + i * kTile + lane % 4 * 2;
    tile[i] = element(tile_rows[0], lane / 4, 0) | element(tile_rows[1], lane / 4, 1);
  }
}

void multiply_add(const uint32_t (&a)[4],
                  const uint32_t (&b)[2],
                  float (&sum)[4],
                  const Place& place) {
  struct Lane {
    Factors factors;
    float result[4];
  } own = {{a, b, sum}, {}};

  meet_warp(kAll, reinterpret_cast<uintptr_t>(&own), place, Meeting::kExchange,
            [](const WarpValues& lanes, int lane) {
              auto& to = *reinterpret_cast<Lane*>(lanes.of[lane]);
              for (int i = 0; i < 4; ++i) {
                const int row = lane / 4 + i / 2 * kTile;
                const int column = lane % 4 * 2 + i % 2;
                float total = to.factors.sum[i];
                for (int k = 0; k < 2 * kTile; ++k) {
                  total += a_at(lanes, row, k) * b_at(lanes, k, column);
                }
                to.result[i] = total;
              }
              return uint64_t{0};
            });
  std::memcpy(sum, own.result, sizeof own.result);
}

}  // namespace lorsa::emulation
