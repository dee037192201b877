#pragma once

#include <cstddef>

// What AddressSanitizer wants to be told by code that switches stacks and hands out memory; nothing
// happens in programs without it.

extern "C" {
void __sanitizer_start_switch_fiber(void** fake_stack, const void* bottom, size_t size)
    __attribute__((weak));
void __sanitizer_finish_switch_fiber(void* fake_stack, const void** bottom, size_t* size)
    __attribute__((weak));
void __asan_poison_memory_region(const volatile void* address, size_t size) __attribute__((weak));
void __asan_unpoison_memory_region(const volatile void* address, size_t size) __attribute__((weak));
}

namespace lorsa::emulation {

inline void start_switch_fiber(void** fake_stack, const void* bottom, size_t size) {
  if (__sanitizer_start_switch_fiber != nullptr) {
    __sanitizer_start_switch_fiber(fake_stack, bottom, size);
  }
}

inline void finish_switch_fiber(void* fake_stack, const void** bottom, size_t* size) {
  if (__sanitizer_finish_switch_fiber != nullptr) {
    __sanitizer_finish_switch_fiber(fake_stack, bottom, size);
  }
}

inline void poison(const void* address, size_t size) {
  if (__asan_poison_memory_region != nullptr) {
    __asan_poison_memory_region(address, size);
  }
}

inline void unpoison(const void* address, size_t size) {
  if (__asan_unpoison_memory_region != nullptr) {
    __asan_unpoison_memory_region(address, size);
  }
}

}  // namespace lorsa::emulation
