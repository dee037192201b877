#include "emulation/buffers.h"

#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <new>

#include "emulation/memory.h"
#include "emulation/sanitizers.h"

namespace lorsa::emulation {
namespace {

constexpr size_t kAlignment = 64;
static_assert(kGuard % kAlignment == 0);

// LibTorch allocates on several threads; kernels run while only one does.
std::mutex mutex;

std::map<uintptr_t, Region>& buffers() {
  static auto* const all = new std::map<uintptr_t, Region>;  // tensors may outlive statics
  return *all;
}

Region* last_found = nullptr;

bool is_near(const Region& region, uintptr_t address) {
  return address + kGuard >= region.start && address < region.start + region.size + kGuard;
}

}  // namespace

void* allocate_buffer(size_t bytes) {
  void* memory = nullptr;
  const size_t all = bytes + 2 * kGuard;
  if (::posix_memalign(&memory, kAlignment, all) != 0) {
    throw std::bad_alloc();
  }
  std::memset(memory, 0xff, all);
  auto* start = static_cast<char*>(memory) + kGuard;
  poison(memory, kGuard);
  poison(start + bytes, kGuard);
  const std::lock_guard lock(mutex);
  Region& region = buffers()[reinterpret_cast<uintptr_t>(start)];
  region.start = reinterpret_cast<uintptr_t>(start);
  region.size = bytes;
  return start;
}

void free_buffer(void* buffer) {
  if (buffer == nullptr) {
    return;
  }
  const std::lock_guard lock(mutex);
  const auto found = buffers().find(reinterpret_cast<uintptr_t>(buffer));
  char* memory = static_cast<char*>(buffer) - kGuard;
  unpoison(memory, found->second.size + 2 * kGuard);
  last_found = nullptr;
  std::free(found->second.bytes);
  buffers().erase(found);
  std::free(memory);
}

Region* find_buffer(uintptr_t address) {
  if (last_found != nullptr && is_near(*last_found, address)) {
    return last_found;
  }
  auto above = buffers().upper_bound(address + kGuard);
  if (above == buffers().begin()) {
    return nullptr;
  }
  // Guards may touch: what starts lower and holds the address itself goes before.
  Region* found = nullptr;
  for (int i = 0; i < 2 && above != buffers().begin(); ++i) {
    Region& region = (--above)->second;
    if (is_near(region, address) && (found == nullptr || address < region.start + region.size)) {
      found = &region;
    }
  }
  if (found != nullptr) {
    last_found = found;
  }
  return found;
}

}  // namespace lorsa::emulation
