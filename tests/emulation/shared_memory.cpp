#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <list>
#include <new>

#include "emulation/block.h"
#include "emulation/buffers.h"
#include "emulation/memory.h"
#include "emulation/sanitizers.h"

namespace lorsa::emulation {
namespace {

// Between variables, and in front of the first.
constexpr size_t kZone = 64;
constexpr size_t kArenaBytes = kStaticShared + kMostDynamicShared + 64 * kZone;

/// One block's shared memory; the next block takes it over.
struct Arena {
  char* memory = nullptr;
  Byte* bytes = nullptr;  // of all of it
  size_t used = 0;
  size_t static_bytes = 0;
  size_t dynamic_bytes = 0;
  std::list<Region> variables;

  Arena() {
    void* aligned = nullptr;
    if (::posix_memalign(&aligned, 1024, kArenaBytes) != 0) {
      throw std::bad_alloc();
    }
    memory = static_cast<char*>(aligned);
    bytes = static_cast<Byte*>(std::calloc(kArenaBytes, sizeof(Byte)));
    poison(memory, kArenaBytes);
  }
};

Arena& arena() {
  static auto* const only = new Arena;
  return *only;
}

void* add_variable(const Variable& variable, size_t size, size_t alignment) {
  const size_t begin = (arena().used + kZone + alignment - 1) / alignment * alignment;
  if (begin + size + kZone > kArenaBytes) {
    fail_thread("takes more shared memory than the emulation has, for " +
                std::string(variable.name));
  }
  char* memory = arena().memory + begin;
  unpoison(memory, size);
  std::memset(memory, 0xff, size);
  arena().used = begin + size;
  Region& region = arena().variables.emplace_back();
  region.start = reinterpret_cast<uintptr_t>(memory);
  region.size = size;
  region.variable = variable;
  region.bytes = arena().bytes + begin;
  return memory;
}

}  // namespace

void begin_block_memory(size_t dynamic_bytes) {
  Arena& own = arena();
  poison(own.memory, own.used);
  own.variables.clear();
  own.used = own.static_bytes = 0;
  own.dynamic_bytes = dynamic_bytes;
}

void* shared_variable(const Variable& variable, size_t bytes, size_t alignment) {
  for (const Region& region : arena().variables) {
    const Variable& known = region.variable;
    if (known.function == variable.function && known.line == variable.line) {
      return reinterpret_cast<void*>(region.start);
    }
  }
  arena().static_bytes += bytes;
  if (arena().static_bytes > kStaticShared) {
    fail_thread("has more than 48 KiB of static shared memory: " +
                std::to_string(arena().static_bytes) + " bytes with " + variable.name);
  }
  return add_variable(variable, bytes, std::max<size_t>(alignment, 16));
}

void* dynamic_shared_memory(const char* name) {
  for (const Region& region : arena().variables) {
    if (region.variable.function == nullptr) {  // all of a kernel's are the same memory
      return reinterpret_cast<void*>(region.start);
    }
  }
  return add_variable({name, nullptr, 0}, arena().dynamic_bytes, 1024);
}

bool in_shared_memory(uintptr_t address) {
  return address - reinterpret_cast<uintptr_t>(arena().memory) < kArenaBytes;
}

Region* find_shared(uintptr_t address) {
  Region* nearest = nullptr;
  for (Region& region : arena().variables) {
    if (address + kZone >= region.start && address < region.start + region.size + kZone &&
        (nearest == nullptr || address >= region.start)) {
      nearest = &region;
    }
  }
  return nearest;
}

}  // namespace lorsa::emulation
