// The functions that -fsanitize=thread calls before every access to memory, written anew: sources
// of kernels are compiled with that option and linked without its library.
#include "emulation/block.h"
#include "emulation/memory.h"

namespace lorsa::emulation {

bool accesses_are_checked() {
  return LORSA_ACCESS_HOOKS != 0;
}

}  // namespace lorsa::emulation

#if LORSA_ACCESS_HOOKS

namespace {

using lorsa::emulation::Access;

/// Translated sources hold host code too, which may do what it likes; a thread's stack is its own.
inline void check(const void* address, size_t bytes, size_t alignment, Access access) {
  using lorsa::emulation::Fiber;
  if (lorsa::emulation::block.runs && !Fiber::holds(reinterpret_cast<uintptr_t>(address))) {
    lorsa::emulation::check_access(address, bytes, alignment, access);
  }
}

}  // namespace

#define LORSA_ALIGNED(BYTES)                      \
  void __tsan_read##BYTES(const void* address) {  \
    check(address, BYTES, BYTES, Access::kRead);  \
  }                                               \
  void __tsan_write##BYTES(const void* address) { \
    check(address, BYTES, BYTES, Access::kWrite); \
  }
#define LORSA_UNALIGNED(BYTES)                              \
  void __tsan_unaligned_read##BYTES(const void* address) {  \
    check(address, BYTES, 1, Access::kRead);                \
  }                                                         \
  void __tsan_unaligned_write##BYTES(const void* address) { \
    check(address, BYTES, 1, Access::kWrite);               \
  }

extern "C" {

LORSA_ALIGNED(1)
LORSA_ALIGNED(2)
LORSA_ALIGNED(4)
LORSA_ALIGNED(8)
LORSA_ALIGNED(16)
LORSA_UNALIGNED(2)
LORSA_UNALIGNED(4)
LORSA_UNALIGNED(8)
LORSA_UNALIGNED(16)

void __tsan_read_range(const void* address, unsigned long bytes) {
  check(address, bytes, 1, Access::kRead);
}

void __tsan_write_range(const void* address, unsigned long bytes) {
  check(address, bytes, 1, Access::kWrite);
}

void __tsan_init() {}

void __tsan_func_entry(const void*) {}

void __tsan_func_exit() {}

/// The guard of a static variable of host code.
unsigned char __tsan_atomic8_load(const volatile unsigned char* address, int) {
  return __atomic_load_n(address, __ATOMIC_ACQUIRE);
}
}

#endif
