// What kernels do to memory, access by access.
#include <pthread.h>

#include <algorithm>
#include <cstdlib>

#include "emulation/block.h"
#include "emulation/buffers.h"
#include "emulation/memory.h"

extern "C" {
// The program's image, by the linker.
extern const char __executable_start[];
extern const char _end[];
}

namespace lorsa::emulation {
namespace {

int64_t accesses = 0;

struct Range {
  uintptr_t begin = 0;
  uintptr_t end = 0;

  [[nodiscard]] bool holds(uintptr_t address) const { return address >= begin && address < end; }
};

Range stack_of_program() {
  pthread_attr_t attributes;
  void* bottom = nullptr;
  size_t size = 0;
  if (::pthread_getattr_np(::pthread_self(), &attributes) == 0) {
    ::pthread_attr_getstack(&attributes, &bottom, &size);
    ::pthread_attr_destroy(&attributes);
  }
  const auto begin = reinterpret_cast<uintptr_t>(bottom);
  return {begin, begin + size};
}

/// Constants, and what a launch's arguments are read from.
bool is_readable(uintptr_t address) {
  static thread_local const Range stack = stack_of_program();
  static const Range image = {reinterpret_cast<uintptr_t>(__executable_start),
                              reinterpret_cast<uintptr_t>(_end)};
  return stack.holds(address) || image.holds(address);
}

const char* verb(Access access) {
  switch (access) {
    case Access::kRead:
      return "reads";
    case Access::kWrite:
      return "writes";
    case Access::kAtomic:
      return "changes";
  }
  return "";
}

Stamp stamp(Access access) {
  Stamp now;
  now.block = block.number;
  now.barriers = block.num_barriers & 0xfffu;
  now.warp_syncs = running().num_warp_syncs & 0xffu;
  now.thread = block.current & 0x3ffu;
  now.atomic = access == Access::kAtomic ? 1 : 0;
  return now;
}

bool same_warp(const Stamp& a, const Stamp& b) {
  return a.thread / kWarpSize == b.thread / kWarpSize;
}

/// Whether something orders `before`, the older of two accesses, and `now`. Blocks before
/// `first_block` do not count: those of older launches, to shared memory all but the running one.
inline bool ordered(const Stamp& before, const Stamp& now, uint32_t first_block) {
  if (before.block < first_block) {
    return true;
  }
  if (before.block != now.block) {
    return false;
  }
  return before.barriers != now.barriers || before.thread == now.thread ||
         (same_warp(before, now) && before.warp_syncs != now.warp_syncs);
}

[[noreturn]] void fail_race(const std::string& what, const Stamp& other, bool other_wrote) {
  std::string whom = thread_name(static_cast<unsigned>(other.thread));
  const bool own_block = other.block == block.number;
  if (!own_block) {
    whom += " of " + block_name(static_cast<uint32_t>(other.block));
  }
  fail_thread(what + ", which " + whom + (other_wrote ? " writes" : " reads") +
              (own_block ? " with no barrier between: a race" : " too: a race"));
}

void note_reader(Byte& byte, const Stamp& now, uint32_t first_block) {
  if (ordered(byte.read, now, first_block)) {
    byte.read = now;
  } else if (ordered(byte.read_by_another, now, first_block) ||
             same_warp(byte.read, byte.read_by_another)) {
    byte.read_by_another = now;
  }
}

void look_at_bytes(Region& region, uintptr_t address, size_t length, Access access) {
  if (region.bytes == nullptr) {
    region.bytes = static_cast<Byte*>(std::calloc(region.size, sizeof(Byte)));
  }
  const Stamp now = stamp(access);
  const uint32_t first_block = region.is_shared() ? block.number : block.first_of_grid;
  Byte* byte = region.bytes + (address - region.start);
  for (size_t i = 0; i < length; ++i, ++byte) {
    const bool both_atomic = byte->written.atomic != 0 && now.atomic != 0;
    if (!both_atomic && !ordered(byte->written, now, first_block)) {
      fail_race(verb(access) + (" " + region.part(address, length)), byte->written, true);
    }
    if (access == Access::kRead) {
      note_reader(*byte, now, first_block);
      continue;
    }
    for (const Stamp& reader : {byte->read, byte->read_by_another}) {
      if (!ordered(reader, now, first_block)) {
        fail_race(verb(access) + (" " + region.part(address, length)), reader, false);
      }
    }
    byte->written = now;
  }
}

void require_written(const Region& region, uintptr_t address, size_t length) {
  const Byte* byte = region.bytes + (address - region.start);
  if (std::any_of(byte, byte + length,
                  [](const Byte& one) { return one.written.block != block.number; })) {
    fail_thread("reads " + region.part(address, length) +
                ", which no thread of the block has written");
  }
}

}  // namespace

std::string Region::part(uintptr_t address, size_t length) const {
  const auto first = static_cast<int64_t>(address - start);
  return "bytes " + std::to_string(first) + " to " +
         std::to_string(first + static_cast<int64_t>(length) - 1) + " of " +
         (is_shared() ? "the shared variable " + std::string(variable.name) : "a buffer") + " of " +
         std::to_string(size);
}

void check_access(const void* pointer, size_t length, size_t alignment, Access access) {
  const auto address = reinterpret_cast<uintptr_t>(pointer);
  ++accesses;
  const bool shared = in_shared_memory(address);
  Region* region = shared ? find_shared(address) : find_buffer(address);
  if (region == nullptr) {
    if (access == Access::kRead && is_readable(address)) {
      return;
    }
    fail_thread(verb(access) + (" " + std::to_string(length)) +
                " bytes that lie in no buffer and no shared variable");
  }
  if (address < region->start || address + length > region->start + region->size) {
    fail_thread(verb(access) + (" " + region->part(address, length)) + ": outside");
  }
  const size_t too_far = address & (alignment - 1);
  if (too_far != 0) {
    fail_thread(verb(access) + (" " + region->part(address, length)) + ": misaligned by " +
                std::to_string(too_far));
  }
  if (shared && access != Access::kWrite) {
    require_written(*region, address, length);
  }
  look_at_bytes(*region, address, length, access);
}

void forget_written(const void* pointer, size_t length) {
  const auto address = reinterpret_cast<uintptr_t>(pointer);
  const Region& region = *find_shared(address);
  Byte* byte = region.bytes + (address - region.start);
  std::for_each(byte, byte + length, [](Byte& one) { one.written = {}; });
}

int64_t num_accesses() {
  return accesses;
}

void begin_atomic(const void* address, size_t bytes) {
  constexpr uint64_t kOneIn = 4;
  if (draw(kOneIn) == 0) {
    make_runnable(block.current);
    wait();
  }
  if (accesses_are_checked()) {
    check_access(address, bytes, bytes, Access::kAtomic);
  }
}

}  // namespace lorsa::emulation
