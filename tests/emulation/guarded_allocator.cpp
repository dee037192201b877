#include "emulation/guarded_allocator.h"

#include <c10/core/CPUAllocator.h>

#include <limits>

#include "emulation/memory.h"

namespace lorsa::emulation {
namespace {

class GuardedAllocator final : public c10::Allocator {
 public:
  c10::DataPtr allocate(size_t bytes) override {
    void* buffer = allocate_buffer(bytes);
    return {buffer, buffer, &free_buffer, c10::Device(c10::DeviceType::CPU)};
  }

  [[nodiscard]] c10::DeleterFnPtr raw_deleter() const override { return &free_buffer; }

  void copy_data(void* to, const void* from, size_t bytes) const override {
    default_copy_data(to, from, bytes);
  }
};

}  // namespace

void guard_tensors() {
  static GuardedAllocator allocator;
  c10::SetCPUAllocator(&allocator, std::numeric_limits<uint8_t>::max());
}

}  // namespace lorsa::emulation
