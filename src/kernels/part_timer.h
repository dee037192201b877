#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>

// Where a training step spends its time: the tensor functions of this module charge themselves to a
// part while a benchmark records. Off, a call costs one relaxed load. Wall time of the calling
// thread: on a device only with a barrier that waits for its work, which a step then also waits
// for.

namespace lorsa::kernels {

enum class Part {
  kProjection,
  kRope,
  kAttentionForward,
  kTopK,
  kDecodeLoss,
  kDecodeBackward,
  kAttentionBackward,
  kWeightGradient,
  kOptimizer
};
constexpr std::size_t kNumParts = 9;

/// Seconds of every part.
using PartTimes = std::array<double, kNumParts>;

/// Where the parts are added up from now on; null: nowhere, the start. The caller keeps it alive,
/// and runs one step at a time.
inline std::atomic<PartTimes*> recorded_parts{nullptr};

/// Called at both ends of a part while times are recorded; null: nothing.
inline std::atomic<void (*)()> part_barrier{nullptr};

/// Charges its scope to a part.
class PartTimer {
 public:
  explicit PartTimer(Part part)
      : times_(recorded_parts.load(std::memory_order_relaxed)), part_(part) {
    if (times_ != nullptr) {
      wait();
      start_ = std::chrono::steady_clock::now();
    }
  }

  ~PartTimer() {
    if (times_ != nullptr) {
      wait();
      const std::chrono::duration<double> spent = std::chrono::steady_clock::now() - start_;
      (*times_)[static_cast<std::size_t>(part_)] += spent.count();
    }
  }

  PartTimer(const PartTimer&) = delete;
  PartTimer& operator=(const PartTimer&) = delete;

 private:
  static void wait() {
    if (void (*const barrier)() = part_barrier.load(std::memory_order_relaxed)) {
      barrier();
    }
  }

  PartTimes* times_;
  Part part_;
  std::chrono::steady_clock::time_point start_;
};

}  // namespace lorsa::kernels
