// __syncthreads(), and all that lanes of a warp do together.
#include <string_view>

#include "emulation/block.h"

namespace lorsa::emulation {
namespace {

bool same(const Place& a, const Place& b) {
  return a.line == b.line && (a.file == b.file || std::string_view(a.file) == b.file);
}

using State = Thread::State;

unsigned first_in(State state) {
  unsigned thread = 0;
  while (threads[thread].state != state) {
    ++thread;
  }
  return thread;
}

/// Lanes on their way to a meeting. One for every first lane of a mask: those of masks that do not
/// overlap may be under way together.
struct Gathering {
  uint32_t block = 0;  ///< of which it is; others are of the past
  int num_here = 0;
  unsigned mask = 0;
  Place place;
};

Gathering& gathering_of(unsigned warp, unsigned mask) {
  static Gathering all[Fiber::kMost / kWarpSize][kWarpSize];
  Gathering& found = all[warp][__builtin_ctz(mask)];
  if (found.block != block.number) {
    found = {block.number, 0, 0, {}};
  }
  return found;
}

void join(Gathering& gathering, unsigned mask, const Place& place) {
  if (gathering.num_here > 0 && (gathering.mask != mask || !same(gathering.place, place))) {
    fail_thread("lanes of a warp meet at different calls or with different masks: " + text(place) +
                " and " + text(gathering.place));
  }
  gathering.mask = mask;
  gathering.place = place;
  ++gathering.num_here;
}

/// Why a thread waits for lanes of its warp that will not come.
std::string reason_to_wait(unsigned thread) {
  const Thread& waiting = threads[thread];
  const std::string begin = "waits for the lanes that its mask names at " + text(waiting.place);
  for (unsigned lane = 0; lane < kWarpSize; ++lane) {
    const unsigned other = thread / kWarpSize * kWarpSize + lane;
    if ((waiting.mask >> lane & 1u) == 0) {
      continue;
    }
    switch (threads[other].state) {
      case State::kDone:
        return begin + ": " + thread_name(other) + " has returned";
      case State::kAtBlockBarrier:
        return begin + ": " + thread_name(other) + " waits at the __syncthreads() of " +
               text(threads[other].place);
      case State::kAtWarpMeeting:
        if (threads[other].mask != waiting.mask) {
          return begin + ": " + thread_name(other) + " waits with another mask at " +
                 text(threads[other].place);
        }
        break;
      case State::kRunnable:
        break;
    }
  }
  return begin;
}

}  // namespace

void meet_block(const Place& place) {
  Thread& thread = running();
  thread.place = place;
  thread.state = State::kAtBlockBarrier;
  ++block.num_at_barrier;
  wait();
}

void open_barrier() {
  if (block.num_at_barrier + block.num_done < block.num_threads) {
    const unsigned waiting = first_in(State::kAtWarpMeeting);
    fail_block(waiting, reason_to_wait(waiting));
    return;
  }
  const unsigned first = first_in(State::kAtBlockBarrier);
  const Place& place = threads[first].place;
  if (block.num_done > 0) {
    fail_block(first, "waits at the __syncthreads() of " + text(place) + ", which " +
                          std::to_string(block.num_done) + " of the block's " +
                          std::to_string(block.num_threads) + " threads returned without reaching");
    return;
  }
  for (unsigned i = first; i < block.num_threads; ++i) {
    if (!same(threads[i].place, place)) {
      fail_block(first, "waits at the __syncthreads() of " + text(place) + ", " + thread_name(i) +
                            " at that of " + text(threads[i].place));
      return;
    }
  }
  block.num_at_barrier = 0;
  ++block.num_barriers;
  for (unsigned i = 0; i < block.num_threads; ++i) {
    make_runnable(i);
  }
}

uint64_t meet_warp_with(unsigned mask,
                        uint64_t value,
                        const Place& place,
                        Meeting meeting,
                        WarpResult result,
                        const void* context) {
  Thread& thread = running();
  const unsigned warp = block.current / kWarpSize;
  const unsigned first = warp * kWarpSize;
  if ((mask >> (block.current - first) & 1u) == 0) {
    fail_thread("calls at " + text(place) + " with a mask that does not name it");
  }
  if (block.num_threads - first < kWarpSize && mask >> (block.num_threads - first) != 0) {
    fail_thread("the mask at " + text(place) + " names lanes that the block does not have");
  }
  Gathering& gathering = gathering_of(warp, mask);
  join(gathering, mask, place);
  thread.place = place;
  thread.mask = mask;
  thread.value = value;
  thread.state = State::kAtWarpMeeting;
  if (gathering.num_here == __builtin_popcount(mask)) {
    gathering.num_here = 0;
    WarpValues values;
    values.mask = mask;
    for (unsigned lane = 0; lane < kWarpSize; ++lane) {
      values.of[lane] = (mask >> lane & 1u) != 0 ? threads[first + lane].value : 0;
    }
    for (unsigned lane = 0; lane < kWarpSize; ++lane) {
      if ((mask >> lane & 1u) != 0) {
        threads[first + lane].result = result(context, values, static_cast<int>(lane));
        threads[first + lane].num_warp_syncs += meeting == Meeting::kOrdersMemory ? 1 : 0;
        make_runnable(first + lane);
      }
    }
  }
  wait();
  return thread.result;
}

void require_full_width(int width, const Place& place) {
  if (width != kWarpSize) {
    fail_thread("shuffles over " + std::to_string(width) + " lanes at " + text(place) +
                ": not emulated");
  }
}

}  // namespace lorsa::emulation
