#include "lorsa/core/recycled_memory.h"

#include <c10/core/Allocator.h>
#include <c10/core/CPUAllocator.h>
#include <sys/mman.h>

#include <cstring>
#include <map>
#include <mutex>
#include <new>
#include <unordered_map>
#include <vector>

namespace lorsa {
namespace {

constexpr size_t kUnit = size_t{1} << 20;

/// Blocks of whole units, mapped once each.
class Blocks {
 public:
  void* take(size_t units) {
    {
      const std::lock_guard lock(mutex_);
      std::vector<void*>& idle = idle_[units];
      if (!idle.empty()) {
        void* block = idle.back();
        idle.pop_back();
        return block;
      }
    }
    void* block =
        ::mmap(nullptr, units * kUnit, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (block == MAP_FAILED) {
      throw std::bad_alloc();
    }
    const std::lock_guard lock(mutex_);
    units_[block] = units;
    return block;
  }

  /// False for memory that is no block.
  bool give_back(void* block) {
    const std::lock_guard lock(mutex_);
    const auto found = units_.find(block);
    if (found == units_.end()) {
      return false;
    }
    idle_[found->second].push_back(block);
    return true;
  }

 private:
  std::mutex mutex_;
  std::map<size_t, std::vector<void*>> idle_;
  std::unordered_map<void*, size_t> units_;
};

// Tensors may outlive static objects: never destroyed.
Blocks& blocks() {
  static auto* const all = new Blocks;
  return *all;
}

/// For memory of either kind: LibTorch's own code asks for one function that frees all.
void give_back(void* memory) {
  if (!blocks().give_back(memory)) {
    c10::GetDefaultCPUAllocator()->raw_deallocate(memory);
  }
}

class RecyclingAllocator final : public c10::Allocator {
 public:
  c10::DataPtr allocate(size_t bytes) override {
    if (bytes < kUnit) {
      return c10::GetDefaultCPUAllocator()->allocate(bytes);
    }
    void* block = blocks().take((bytes + kUnit - 1) / kUnit);
    return {block, block, &give_back, c10::Device(c10::kCPU)};
  }

  [[nodiscard]] c10::DeleterFnPtr raw_deleter() const override { return &give_back; }

  void copy_data(void* to, const void* from, size_t bytes) const override {
    std::memcpy(to, from, bytes);
  }
};

}  // namespace

void recycle_large_tensors() {
  static auto* const allocator = new RecyclingAllocator;
  // Above the priority of LibTorch's own, which is 0.
  c10::SetCPUAllocator(allocator, /*priority=*/1);
}

}  // namespace lorsa
