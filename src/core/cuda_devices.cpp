// Part of liblorsa_cuda.so.
#include <ATen/cuda/CUDAContextLight.h>
#include <ATen/cuda/CUDAEvent.h>
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAFunctions.h>
#include <c10/cuda/CUDAGuard.h>

#include <deque>
#include <utility>

#include "core/cuda_plugin.h"
#include "lorsa/core/api.h"

namespace {

int count() {
  return c10::cuda::device_count();
}

std::string name(int device) {
  return at::cuda::getDeviceProperties(static_cast<c10::DeviceIndex>(device))->name;
}

int64_t memory_bytes(int device) {
  return static_cast<int64_t>(
      at::cuda::getDeviceProperties(static_cast<c10::DeviceIndex>(device))->totalGlobalMem);
}

lorsa::TensorMemory tensor_memory(int device) {
  namespace allocator = c10::cuda::CUDACachingAllocator;
  const c10::CachingDeviceAllocator::DeviceStats stats =
      allocator::getDeviceStats(static_cast<c10::DeviceIndex>(device));
  constexpr auto kAll = static_cast<size_t>(c10::CachingAllocator::StatType::AGGREGATE);
  return {stats.allocated_bytes[kAll].current, stats.allocated_bytes[kAll].peak,
          stats.num_device_alloc};
}

void synchronize(int device) {
  const c10::cuda::CUDAGuard guard(static_cast<c10::DeviceIndex>(device));
  c10::cuda::device_synchronize();
}

/// Copies on a stream of their own.
class CopyStream final : public lorsa::AsyncCopies {
 public:
  explicit CopyStream(int device)
      : stream_(c10::cuda::getStreamFromPool(/*isHighPriority=*/false,
                                             static_cast<c10::DeviceIndex>(device))) {}

  // LibTorch's host allocator records an event behind the copy and gives the page-locked block out
  // again only once that has passed: nobody refills it before. The result is memory of the copy
  // stream, so that the copy need not wait for what the compute stream still does with its own.
  at::Tensor begin(const at::Tensor& host) override {
    const c10::cuda::CUDAStreamGuard guard(stream_);
    return host.to(stream_.device(), host.scalar_type(), /*non_blocking=*/true);
  }

  void join(const std::vector<at::Tensor>& copies) override {
    const c10::cuda::CUDAStream compute = c10::cuda::getCurrentCUDAStream(stream_.device_index());
    at::cuda::CUDAEvent copied;
    copied.record(stream_);
    copied.block(compute);
    // The copy stream takes their memory for the next copy only when `compute` is done with it.
    for (const at::Tensor& copy : copies) {
      c10::cuda::CUDACachingAllocator::recordStream(copy.storage().data_ptr(), compute);
    }
  }

 private:
  c10::cuda::CUDAStream stream_;
};

std::unique_ptr<lorsa::AsyncCopies> copies(int device) {
  return std::make_unique<CopyStream>(device);
}

/// By events behind what the current stream is given.
class EventClock final : public lorsa::DeviceClock {
 public:
  EventClock(int device, size_t num_parts)
      : device_(static_cast<c10::DeviceIndex>(device)), seconds_(num_parts), last_(now()) {}

  void lap(size_t part) override {
    laps_.push_back({part, now()});
    while (!laps_.empty() && laps_.front().end.query()) {
      count_first();
    }
  }

  std::vector<double> take() override {
    if (!laps_.empty()) {
      laps_.back().end.synchronize();
    }
    while (!laps_.empty()) {
      count_first();
    }
    return std::exchange(seconds_, std::vector<double>(seconds_.size()));
  }

 private:
  struct Lap {
    size_t part;
    at::cuda::CUDAEvent end;
  };

  [[nodiscard]] at::cuda::CUDAEvent now() const {
    at::cuda::CUDAEvent event(cudaEventDefault);  // others keep no time
    event.record(c10::cuda::getCurrentCUDAStream(device_));
    return event;
  }

  /// The first lap, which the device has passed.
  void count_first() {
    Lap first = std::move(laps_.front());
    laps_.pop_front();
    constexpr double kMilliseconds = 1e-3;
    seconds_[first.part] += kMilliseconds * last_.elapsed_time(first.end);
    last_ = std::move(first.end);
  }

  c10::DeviceIndex device_;
  std::vector<double> seconds_;
  at::cuda::CUDAEvent last_;
  std::deque<Lap> laps_;
};

std::unique_ptr<lorsa::DeviceClock> device_clock(int device, size_t num_parts) {
  return std::make_unique<EventClock>(device, num_parts);
}

}  // namespace

extern "C" {
LORSA_API extern const lorsa::CudaDevices lorsa_cuda_devices;
const lorsa::CudaDevices lorsa_cuda_devices = {count,       name,   memory_bytes, tensor_memory,
                                               synchronize, copies, device_clock};
}
