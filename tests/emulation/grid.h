#pragma once

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

#include "toolkit/vector_types.h"

// CUDA on the CPU, for tests: a launch runs its grid block by block, the threads of a block one at
// a time, each on a stack of its own (fiber.h), between two meeting points in an order that a seed
// draws. What a kernel may not do is a Fault that names kernel, launch, block and thread:
//
//   meetings   __syncthreads() that part of a block reaches or that is not the same one, lanes that
//              a mask names and that do not come, come to another call or have returned
//   memory     (memory.h) accesses beside buffers and shared variables, misaligned ones, shared
//              memory that nobody has written, races
//   launches   more than 48 KiB of static shared memory, or of dynamic without leave
//
// Whether results depend on the order of threads is for the caller to compare: orders.h.
//
// Not emulated: streams, a memory model weaker than that of memory.h, warps in lockstep, what the
// compiler contracts to fma, LibTorch's own kernels. It says nothing of speed.

namespace lorsa::emulation {

/// A kernel did what the language does not allow; thrown from its launch.
struct Fault : std::logic_error {
  using std::logic_error::logic_error;
};

/// Draws the order of blocks and threads of all launches that follow.
void draw_orders(uint64_t seed);

/// Of the whole process.
struct Counts {
  int64_t launches = 0;
  int64_t threads = 0;
  int64_t accesses = 0;  ///< 0 where they are not checked: in builds with a sanitizer
};

[[nodiscard]] Counts counts();

/// Accesses of each block, in no order, in the last launch of the kernel whose name (as
/// kernel_name() gives it) begins so.
[[nodiscard]] std::vector<int64_t> accesses_of_blocks(const std::string& kernel);

// What translated sources and toolkit/ call.

struct Place {
  const char* file = nullptr;
  int line = 0;
};

/// Runs body(data) once for every thread. Leaves an error for cudaGetLastError() where no device
/// takes such a launch.
void run_grid(const Place& place,
              dim3 grid,
              dim3 block,
              size_t dynamic_bytes,
              void (*body)(const void*),
              const void* data);

/// At the start of a kernel, with its __PRETTY_FUNCTION__.
void enter_kernel(const char* function);

/// Lets launches that follow take so much; false: no device has it. Not told apart by kernel.
bool allow_dynamic_shared(size_t bytes);

struct Variable {
  const char* name = nullptr;
  const char* function = nullptr;
  int line = 0;
};

/// The running block's memory of a __shared__ variable.
[[nodiscard]] void* shared_variable(const Variable& variable, size_t bytes, size_t alignment);
[[nodiscard]] void* dynamic_shared_memory(const char* name);

/// Before a read and write of the running thread that others of the grid may do too; another
/// thread may run first.
void begin_atomic(const void* address, size_t bytes);

/// Waits for all threads of the block.
void meet_block(const Place& place);

constexpr int kWarpSize = 32;

/// What the lanes of a mask brought to a meeting.
struct WarpValues {
  uint64_t of[kWarpSize] = {};
  unsigned mask = 0;

  [[nodiscard]] bool has(int lane) const { return (mask >> lane & 1u) != 0; }
};

/// Shuffles and ballots exchange values; only __syncwarp() orders what lanes read and write.
enum class Meeting { kExchange, kOrdersMemory };

using WarpResult = uint64_t (*)(const void* context, const WarpValues& values, int lane);

/// Waits for the lanes of `mask`, then every lane gets its result.
uint64_t meet_warp_with(unsigned mask,
                        uint64_t value,
                        const Place& place,
                        Meeting meeting,
                        WarpResult result,
                        const void* context);

template <typename Result>
uint64_t meet_warp(
    unsigned mask, uint64_t value, const Place& place, Meeting meeting, const Result& result) {
  return meet_warp_with(
      mask, value, place, meeting,
      [](const void* context, const WarpValues& values, int lane) {
        return (*static_cast<const Result*>(context))(values, lane);
      },
      &result);
}

// Of the running thread: async_copies.cpp. Groups are counted from the last back.
void copy_async(void* to, const void* from, size_t bytes, size_t zeros);
void commit_copies();
void wait_for_copies(unsigned groups);

// By all lanes of a warp: tensor_cores.cpp.
void load_transposed(const void* row, uint32_t (&tile)[4], const Place& place);
void multiply_add(const uint32_t (&a)[4],
                  const uint32_t (&b)[2],
                  float (&sum)[4],
                  const Place& place);

using SourceLane = int (*)(int lane, int argument);

/// Shuffles within parts of a warp are not emulated.
void require_full_width(int width, const Place& place);

}  // namespace lorsa::emulation
