#include "lorsa/core/device.h"

#include <ATen/Parallel.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <fstream>
#include <limits>
#include <optional>
#include <string_view>
#include <utility>

#include "core/clock.h"
#include "core/cuda_plugin.h"
#include "core/device_clock.h"
#include "lorsa/core/error.h"
#include "lorsa/core/log.h"
#include "lorsa/core/progress.h"

namespace lorsa {
namespace {

int num_cuda_devices() {
  return LORSA_HAS_CUDA && has_cuda_driver() ? cuda_devices().count() : 0;
}

// The index behind "cuda" (0) or "cuda:N"; nothing for any other text.
std::optional<int> cuda_index(std::string_view name) {
  constexpr std::string_view kPrefix = "cuda";
  if (!name.starts_with(kPrefix)) {
    return std::nullopt;
  }
  name.remove_prefix(kPrefix.size());
  if (name.empty()) {
    return 0;
  }
  // c10::Device holds the index in 8 bits.
  int index = 0;
  const auto [end, code] = std::from_chars(name.data() + 1, name.data() + name.size(), index);
  if (name.front() != ':' || name.size() < 2 || name[1] == '-' || code != std::errc() ||
      end != name.data() + name.size() || index > 127) {
    return std::nullopt;
  }
  return index;
}

std::string processor_name() {
  std::ifstream file("/proc/cpuinfo");
  std::string line;
  while (std::getline(file, line)) {
    if (line.starts_with("model name")) {
      const size_t start = line.find_first_not_of(" \t", line.find(':') + 1);
      if (start != std::string::npos) {
        return line.substr(start);
      }
    }
  }
  return "unknown processor";
}

class WallClock final : public DeviceClock {
 public:
  explicit WallClock(size_t num_parts) : seconds_(num_parts) {}

  void lap(size_t part) override {
    const double before_s = std::exchange(last_s_, now_s());
    seconds_[part] += last_s_ - before_s;
  }

  std::vector<double> take() override {
    return std::exchange(seconds_, std::vector<double>(seconds_.size()));
  }

 private:
  std::vector<double> seconds_;
  double last_s_ = now_s();
};

}  // namespace

c10::Device resolve_device(const std::string& name, int64_t local_rank) {
  if (name == "cpu") {
    return c10::Device(c10::kCPU);
  }
  if (name == "auto") {
    const c10::Device device =
        num_cuda_devices() > 0 ? resolve_device("cuda", local_rank) : c10::Device(c10::kCPU);
    log_info("device: auto -> {}", device_description(device));
    return device;
  }
  std::optional<int> index = cuda_index(name);
  LORSA_CHECK(index.has_value(), ConfigError,
              "device: expected auto, cpu, cuda or cuda:N, found '{}'", name);
  LORSA_CHECK(LORSA_HAS_CUDA, DeviceError,
              "device {}: built without CUDA; use auto or cpu, or build with LORSA_CUDA=ON", name);
  const int count = num_cuda_devices();
  if (name == "cuda" && count > 1) {
    index = static_cast<int>(std::min<int64_t>(local_rank, 127));
  }
  LORSA_CHECK(*index < count, DeviceError,
              "device {}{}: this machine has {} usable CUDA devices; use auto or cpu", name,
              name == "cuda" ? formatted(" for local rank {}", *index) : std::string(), count);
  return c10::Device(c10::kCUDA, static_cast<c10::DeviceIndex>(*index));
}

NumThreads::NumThreads(int64_t num_threads) : before_(at::get_num_threads()) {
  LORSA_CHECK(num_threads >= 0 && num_threads <= std::numeric_limits<int>::max(), ConfigError,
              "threads: expected 0 (automatic) or a positive number, found {}", num_threads);
  if (num_threads > 0) {
    at::set_num_threads(static_cast<int>(num_threads));
  }
}

NumThreads::~NumThreads() {
  if (at::get_num_threads() != before_) {
    at::set_num_threads(before_);
  }
}

std::string device_description(c10::Device device) {
  if (device.is_cuda()) {
    return formatted("{}, {}", device.str(), cuda_devices().name(device.index()));
  }
  const int threads = at::get_num_threads();
  return formatted("{}, {}{}{}", device.str(), threads, threads == 1 ? " thread, " : " threads, ",
                   processor_name());
}

int64_t device_memory_bytes(c10::Device device) {
  if (device.is_cuda()) {
    return cuda_devices().memory_bytes(device.index());
  }
  return static_cast<int64_t>(::sysconf(_SC_PHYS_PAGES)) *
         static_cast<int64_t>(::sysconf(_SC_PAGESIZE));
}

void check_memory(double bytes, c10::Device device, const std::string& what) {
  const auto there = static_cast<double>(device_memory_bytes(device));
  LORSA_CHECK(bytes <= there, ConfigError, "{}: {} of memory needed, {} has {}", what,
              format_bytes(bytes), device.is_cuda() ? "the device" : "this machine",
              format_bytes(there));
}

TensorMemory tensor_memory(c10::Device device) {
  return device.is_cuda() ? cuda_devices().tensor_memory(device.index()) : TensorMemory{};
}

std::unique_ptr<AsyncCopies> make_async_copies(c10::Device device) {
  return device.is_cuda() ? cuda_devices().copies(device.index()) : nullptr;
}

std::unique_ptr<DeviceClock> make_device_clock(c10::Device device, size_t num_parts) {
  if (device.is_cuda()) {
    return cuda_devices().clock(device.index(), num_parts);
  }
  return std::make_unique<WallClock>(num_parts);
}

void synchronize(c10::Device device) {
  if (device.is_cuda()) {
    cuda_devices().synchronize(device.index());
  }
}

}  // namespace lorsa
