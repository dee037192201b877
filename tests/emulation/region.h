#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "emulation/grid.h"

namespace lorsa::emulation {

/// Who touched a byte last, and when. Default: nobody.
struct Stamp {
  uint64_t block : 32 = 0;  ///< its number among all blocks of the process
  uint64_t barriers : 12 = 0;
  uint64_t warp_syncs : 8 = 0;
  uint64_t thread : 10 = 0;
  uint64_t atomic : 1 = 0;
};

/// What races are told from, of one byte. Two readers, because a thread that writes what it has
/// read itself races with the other.
struct Byte {
  Stamp written;
  Stamp read;
  Stamp read_by_another;
};

/// A buffer or a shared variable.
struct Region {
  uintptr_t start = 0;
  size_t size = 0;
  Variable variable;      ///< name null: a buffer
  Byte* bytes = nullptr;  ///< of a buffer: null until a kernel touches it; the owner frees them

  [[nodiscard]] bool is_shared() const { return variable.name != nullptr; }

  /// "bytes 8 to 11 of a buffer of 40"
  [[nodiscard]] std::string part(uintptr_t address, size_t length) const;
};

}  // namespace lorsa::emulation
