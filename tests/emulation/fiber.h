#pragma once

#include <cstddef>
#include <cstdint>

namespace lorsa::emulation {

/// A function on a stack of its own, left and entered again at will. One runs at a time; x86-64.
class Fiber {
 public:
  /// Prepares a call of `function`, which never returns: it ends with leave_for_good(). `number`
  /// picks the stack, below kMost; what ran there is given up.
  void start(unsigned number, void (*function)());

  /// Runs until the fiber leaves.
  void enter();
  void leave();
  [[noreturn]] void leave_for_good();

  /// Whether an address lies in the stack of some fiber.
  [[nodiscard]] static bool holds(uintptr_t address) {
    return address - stacks_ < kMost * kStackBytes;
  }

  static constexpr unsigned kMost = 1024;

 private:
  static constexpr size_t kStackBytes = 256 * 1024;
  static uintptr_t stacks_;  // all of them, side by side

  static char* stack(unsigned number);
  void to_host(void** fake_stack);

  char* bottom_ = nullptr;
  void* top_ = nullptr;         // where it left
  void* fake_stack_ = nullptr;  // AddressSanitizer's
};

}  // namespace lorsa::emulation
