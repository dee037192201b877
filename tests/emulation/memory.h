#pragma once

#include <cstddef>
#include <cstdint>

// The memory of emulated kernels. What a kernel may touch is buffers, shared variables of its block
// and its own stack; it may also read constants and the arguments of its launch. Buffers and
// variables lie between guards, start full of 0xff (NaN), and every access is looked at
// (access_hooks.cpp):
//
//   outside    beside a buffer or variable, by up to kGuard bytes; farther away what lies in no
//              buffer
//   misaligned where the type's alignment does not allow it: packs of 16 bytes
//   stale      shared memory that no thread of the block has written
//   race       an access and a write of the same bytes, not both atomic, by two threads of a grid
//              that neither a barrier of their block nor a __syncwarp() of their warp orders
//
// In builds with a sanitizer accesses are not looked at here; AddressSanitizer knows the guards.

namespace lorsa::emulation {

enum class Access { kRead, kWrite, kAtomic };

constexpr size_t kGuard = 256;
constexpr size_t kStaticShared = 48 * 1024;
constexpr size_t kMostDynamicShared = 227 * 1024;

/// Memory that kernels may read and write; aligned to 64 bytes. The caller frees it.
[[nodiscard]] void* allocate_buffer(size_t bytes);
void free_buffer(void* buffer);

/// Takes the shared variables of the block before away.
void begin_block_memory(size_t dynamic_bytes);

/// By the running thread, not of its stack; the thread fails where it may not. The address must be
/// a multiple of `alignment`, a power of two.
void check_access(const void* address, size_t bytes, size_t alignment, Access access);

/// Shared memory counts as never written. Where accesses are looked at.
void forget_written(const void* address, size_t bytes);

/// Whether accesses are looked at in this build.
[[nodiscard]] bool accesses_are_checked();
[[nodiscard]] int64_t num_accesses();

}  // namespace lorsa::emulation
