#include "emulation/grid.h"

#include <algorithm>
#include <map>
#include <numeric>
#include <string_view>
#include <utility>

#include "emulation/block.h"
#include "emulation/kernel_name.h"
#include "emulation/memory.h"
#include "toolkit/cuda_runtime.h"

dim3 threadIdx;
dim3 blockIdx;
dim3 blockDim;
dim3 gridDim;

namespace lorsa::emulation {

Block block;
std::vector<Thread> threads;

namespace {

cudaError_t last_error = cudaSuccess;
uint64_t random_state = 1;
int64_t num_launches = 0;
int64_t num_threads = 0;
// What cudaFuncSetAttribute() raises.
size_t most_dynamic_bytes = kStaticShared;

/// A kernel's last launch.
struct LastLaunch {
  int64_t number = 0;
  std::vector<int64_t> accesses;  // of each block
};

std::map<std::string, LastLaunch> last_launches;  // by __PRETTY_FUNCTION__

struct Grid {
  Place place;
  void (*body)(const void*) = nullptr;
  const void* data = nullptr;
  const char* kernel = nullptr;
  // The n-th block to run is the one at (first + n * step) % count: every block once, as step and
  // count have no divisor in common.
  uint64_t count = 0;
  uint64_t first = 0;
  uint64_t step = 0;
};

Grid grid;

dim3 position(uint64_t index, const dim3& extent) {
  return {static_cast<unsigned>(index % extent.x),
          static_cast<unsigned>(index / extent.x % extent.y),
          static_cast<unsigned>(index / extent.x / extent.y)};
}

std::string text(const dim3& x) {
  return "(" + std::to_string(x.x) + ", " + std::to_string(x.y) + ", " + std::to_string(x.z) + ")";
}

dim3 block_at(uint64_t n) {
  return position((grid.first + n * grid.step) % grid.count, gridDim);
}

/// A thread of the block, from its first instruction to its last.
void thread_body() {
  grid.body(grid.data);
  Thread& thread = running();
  thread.state = Thread::State::kDone;
  ++block.num_done;
  thread.fiber.leave_for_good();
}

void run(unsigned number) {
  block.current = number;
  threadIdx = position(number, blockDim);
  block.runs = true;
  threads[number].fiber.enter();
  block.runs = false;
}

void run_block(const dim3& index) {
  blockIdx = index;
  ++block.number;
  block.num_done = block.num_at_barrier = block.num_barriers = 0;
  block.fault.clear();
  block.runnable.clear();
  for (unsigned i = 0; i < block.num_threads; ++i) {
    threads[i].fiber.start(i, &thread_body);
    threads[i].num_warp_syncs = 0;
    threads[i].copies.clear();
    threads[i].num_copy_groups = 0;
    make_runnable(i);
  }
  num_threads += block.num_threads;
  while (block.fault.empty() && block.num_done < block.num_threads) {
    if (block.runnable.empty()) {
      open_barrier();
    } else {
      std::swap(block.runnable[draw(block.runnable.size())], block.runnable.back());
      const unsigned next = block.runnable.back();
      block.runnable.pop_back();
      run(next);
    }
  }
  if (!block.fault.empty()) {
    throw Fault(block.fault);
  }
}

bool taken_by_a_device(const dim3& extent, const dim3& threads_of_block, size_t dynamic_bytes) {
  constexpr unsigned kMostBlocks = 65535;  // along y and z
  return extent.count() > 0 && extent.x <= 0x7fffffffu && extent.y <= kMostBlocks &&
         extent.z <= kMostBlocks && threads_of_block.count() > 0 &&
         threads_of_block.count() <= Fiber::kMost && threads_of_block.z <= 64 &&
         dynamic_bytes <= most_dynamic_bytes;
}

}  // namespace

uint64_t draw(uint64_t n) {
  // SplitMix64 (Steele et al. 2014): a draw stands before every switch of threads.
  uint64_t bits = random_state += 0x9e3779b97f4a7c15u;
  bits = (bits ^ bits >> 30) * 0xbf58476d1ce4e5b9u;
  bits = (bits ^ bits >> 27) * 0x94d049bb133111ebu;
  return (bits ^ bits >> 31) % n;
}

void make_runnable(unsigned thread) {
  threads[thread].state = Thread::State::kRunnable;
  block.runnable.push_back(thread);
}

void wait() {
  running().fiber.leave();
}

std::string text(const Place& place) {
  return std::string(place.file) + ":" + std::to_string(place.line);
}

std::string thread_name(unsigned thread) {
  return "thread " + text(position(thread, blockDim));
}

std::string block_name(uint32_t number) {
  return "block " + text(block_at(number - block.first_of_grid));
}

void fail_block(unsigned thread, const std::string& why) {
  if (block.fault.empty()) {
    const std::string kernel = grid.kernel == nullptr ? "a kernel" : kernel_name(grid.kernel);
    block.fault = kernel + ", launch " + std::to_string(num_launches) + " at " + text(grid.place) +
                  ", " + block_name(block.number) + ", " + thread_name(thread) + ": " + why;
  }
}

void fail_thread(const std::string& why) {
  fail_block(block.current, why);
  running().fiber.leave_for_good();
}

void draw_orders(uint64_t seed) {
  random_state = seed;
}

Counts counts() {
  return {num_launches, num_threads, num_accesses()};
}

std::vector<int64_t> accesses_of_blocks(const std::string& kernel) {
  LastLaunch last;
  for (const auto& [function, launch] : last_launches) {
    if (launch.number > last.number && kernel_name(function).rfind(kernel, 0) == 0) {
      last = launch;
    }
  }
  return last.accesses;
}

bool allow_dynamic_shared(size_t bytes) {
  most_dynamic_bytes = std::max(most_dynamic_bytes, std::min(bytes, kMostDynamicShared));
  return bytes <= kMostDynamicShared;
}

void enter_kernel(const char* function) {
  grid.kernel = function;
}

void run_grid(const Place& place,
              dim3 extent,
              dim3 threads_of_block,
              size_t dynamic_bytes,
              void (*body)(const void*),
              const void* data) {
  if (!taken_by_a_device(extent, threads_of_block, dynamic_bytes)) {
    last_error = cudaErrorInvalidConfiguration;
    return;
  }
  ++num_launches;
  gridDim = extent;
  blockDim = threads_of_block;
  const uint64_t count = extent.count();
  uint64_t step = 1 + draw(count);
  while (std::gcd(step, count) != 1) {
    ++step;
  }
  grid = {place, body, data, nullptr, count, draw(count), step};
  block.num_threads = static_cast<unsigned>(threads_of_block.count());
  block.first_of_grid = block.number + 1;
  threads.resize(std::max<size_t>(threads.size(), block.num_threads));
  std::vector<int64_t> accesses(count);
  for (uint64_t n = 0; n < count; ++n) {
    const int64_t before = num_accesses();
    begin_block_memory(dynamic_bytes);
    run_block(block_at(n));
    accesses[n] = num_accesses() - before;
  }
  last_launches[grid.kernel == nullptr ? "" : grid.kernel] = {num_launches, std::move(accesses)};
}

}  // namespace lorsa::emulation

cudaError_t cudaGetLastError() {
  return std::exchange(lorsa::emulation::last_error, cudaSuccess);
}

const char* cudaGetErrorName(cudaError_t error) {
  switch (error) {
    case cudaSuccess:
      return "cudaSuccess";
    case cudaErrorInvalidValue:
      return "cudaErrorInvalidValue";
    case cudaErrorInvalidConfiguration:
      return "cudaErrorInvalidConfiguration";
  }
  return "an error";
}

const char* cudaGetErrorString(cudaError_t error) {
  return error == cudaSuccess ? "no error" : "refused by the emulation as by a device";
}
