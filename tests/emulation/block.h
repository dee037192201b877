#pragma once

#include <string>
#include <vector>

#include "emulation/fiber.h"
#include "emulation/grid.h"

// The block that runs: what grid.cpp schedules, meetings.cpp lets wait and memory.cpp watches.

namespace lorsa::emulation {

/// On its way into shared memory.
struct AsyncCopy {
  void* to = nullptr;
  const void* from = nullptr;
  size_t bytes = 0;
  size_t zeros = 0;    ///< at the end, in place of what lies at `from`
  unsigned group = 0;  ///< among those of its thread
};

struct Thread {
  enum class State { kRunnable, kAtBlockBarrier, kAtWarpMeeting, kDone };

  Fiber fiber;
  State state = State::kDone;
  Place place;  ///< where it waits
  unsigned mask = 0;
  uint64_t value = 0;
  uint64_t result = 0;
  unsigned num_warp_syncs = 0;
  std::vector<AsyncCopy> copies;
  unsigned num_copy_groups = 0;  ///< that it has closed
};

struct Block {
  uint32_t number = 0;  ///< among all blocks of the process, from 1
  uint32_t first_of_grid = 0;
  unsigned num_threads = 0;
  unsigned num_done = 0;
  unsigned num_at_barrier = 0;
  unsigned num_barriers = 0;  ///< that it has passed
  unsigned current = 0;
  bool runs = false;  ///< one of its threads does, not the program
  std::vector<unsigned> runnable;
  std::string fault;
};

extern Block block;
extern std::vector<Thread> threads;

inline Thread& running() {
  return threads[block.current];
}

void make_runnable(unsigned thread);

/// Leaves the running thread until it is runnable again.
void wait();

/// "thread (3, 0, 0)"
[[nodiscard]] std::string thread_name(unsigned thread);
/// "block (3, 0, 0)"; of a number in the running grid.
[[nodiscard]] std::string block_name(uint32_t number);
/// "src/kernels/cuda/adam.cu:30"
[[nodiscard]] std::string text(const Place& place);

/// Ends block and launch with a Fault that names the running thread.
[[noreturn]] void fail_thread(const std::string& why);
/// The same, by the scheduler, of a thread that waits.
void fail_block(unsigned thread, const std::string& why);

/// When no thread is runnable: lets the block go on where all wait at the same barrier, else fails
/// it.
void open_barrier();

/// A number below n.
[[nodiscard]] uint64_t draw(uint64_t n);

}  // namespace lorsa::emulation
