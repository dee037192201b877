#pragma once

#include <c10/core/CPUAllocator.h>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <memory>

namespace lorsa::test {

/// Counts what tensors hold while it is LibTorch's CPU allocator.
class CountingAllocator : public c10::Allocator {
 public:
  CountingAllocator() : inner_(c10::GetCPUAllocator()) { c10::SetCPUAllocator(this, kPriority); }

  ~CountingAllocator() override { c10::SetCPUAllocator(inner_, kPriority); }

  CountingAllocator(const CountingAllocator&) = delete;
  CountingAllocator& operator=(const CountingAllocator&) = delete;

  c10::DataPtr allocate(size_t bytes) override {
    auto* block = new Block{counts_, inner_->allocate(bytes), static_cast<int64_t>(bytes)};
    counts_->held += block->bytes;
    counts_->peak = std::max(counts_->peak, counts_->held);
    return {block->memory.get(), block, &release, c10::kCPU};
  }

  void copy_data(void* to, const void* from, size_t bytes) const override {
    default_copy_data(to, from, bytes);
  }

  [[nodiscard]] int64_t peak() const { return counts_->peak; }

 private:
  static constexpr uint8_t kPriority = std::numeric_limits<uint8_t>::max();

  struct Counts {
    int64_t held = 0;
    int64_t peak = 0;
  };

  /// Tables that a thread keeps outlive the allocator.
  struct Block {
    std::shared_ptr<Counts> counts;
    c10::DataPtr memory;
    int64_t bytes;
  };

  static void release(void* context) {
    auto* block = static_cast<Block*>(context);
    block->counts->held -= block->bytes;
    delete block;
  }

  c10::Allocator* inner_;
  std::shared_ptr<Counts> counts_ = std::make_shared<Counts>();
};

}  // namespace lorsa::test
