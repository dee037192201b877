#include "lorsa/core/device.h"

#include <ATen/Parallel.h>

#include <chrono>
#include <thread>

#include "capture_stderr.h"
#include "core/cuda_plugin.h"
#include "core/device_clock.h"
#include "lorsa/core/error.h"
#include "support/test.h"

using Catch::Matchers::Contains;
using Catch::Matchers::StartsWith;
using lorsa::resolve_device;

TEST_CASE("cpu is a device everywhere", "[core]") {
  CHECK(resolve_device("cpu") == c10::Device(c10::kCPU));
}

TEST_CASE("auto finds a device that exists and says which", "[core]") {
  const lorsa::test::CaptureStderr capture;
  const c10::Device device = resolve_device("auto");
  CHECK((device.is_cpu() || device.is_cuda()));
  CHECK_THAT(capture.text(), Contains("device: auto -> " + device.str() + ", "));
}

TEST_CASE("a text that names no device is a configuration error", "[core]") {
  for (const char* name :
       {"", "CPU", "gpu", "cpu:0", "cuda:", "cuda:-1", "cuda:1x", "cuda1", "cuda:128", "cuda: 0"}) {
    CHECK_THROWS_MATCHES(resolve_device(name), lorsa::ConfigError,
                         Catch::Matchers::Message(lorsa::formatted(
                             "device: expected auto, cpu, cuda or cuda:N, found '{}'", name)));
  }
}

TEST_CASE("a CUDA device that is not there is a device error", "[core]") {
  const char* reason = LORSA_HAS_CUDA ? "usable CUDA devices" : "built without CUDA";
  CHECK_THROWS_MATCHES(resolve_device("cuda:127"), lorsa::DeviceError,
                       Catch::Predicate<lorsa::DeviceError>([&](const lorsa::DeviceError& error) {
                         const std::string message = error.what();
                         return message.starts_with("device cuda:127: ") &&
                                message.find(reason) != std::string::npos;
                       }));
}

TEST_CASE("the CUDA plug-in loads where it was built", "[core]") {
#if LORSA_HAS_CUDA
  CHECK(lorsa::cuda_devices().count() >= 0);
  CHECK(lorsa::cuda_symbol("lorsa_cuda_kernels") != nullptr);
  CHECK_THROWS_AS(lorsa::cuda_symbol("no_such_name"), lorsa::DeviceError);
#else
  CHECK_THROWS_AS(lorsa::cuda_devices(), lorsa::DeviceError);
#endif
}

TEST_CASE("the number of threads is set for a while and described", "[core]") {
  const int before = at::get_num_threads();
  {
    const lorsa::NumThreads one(1);
    CHECK(at::get_num_threads() == 1);
    CHECK_THAT(lorsa::device_description(c10::kCPU), StartsWith("cpu, 1 thread, "));
    {
      const lorsa::NumThreads two(2);
      CHECK(at::get_num_threads() == 2);
      CHECK_THAT(lorsa::device_description(c10::kCPU), StartsWith("cpu, 2 threads, "));
      const lorsa::NumThreads unchanged(0);
      CHECK(at::get_num_threads() == 2);
    }
    CHECK(at::get_num_threads() == 1);
  }
  CHECK(at::get_num_threads() == before);
  CHECK_THROWS_AS(lorsa::NumThreads(-1), lorsa::ConfigError);
}

TEST_CASE("a clock of the CPU gives each part the time since the lap before", "[core]") {
  const auto clock = lorsa::make_device_clock(c10::kCPU, 2);
  clock->lap(0);
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  clock->lap(1);
  clock->lap(0);
  const std::vector<double> seconds = clock->take();
  REQUIRE(seconds.size() == 2);
  CHECK(seconds[0] >= 0.0);
  CHECK(seconds[1] >= 0.02);
  CHECK(clock->take() == std::vector<double>{0.0, 0.0});
}

TEST_CASE("memory beyond the machine's is refused with what asks for it", "[core]") {
  const auto there = static_cast<double>(lorsa::device_memory_bytes(c10::kCPU));
  lorsa::check_memory(there, c10::kCPU, "this");
  CHECK_THROWS_MATCHES(
      lorsa::check_memory(0x1p62, c10::kCPU, "that (--option)"), lorsa::ConfigError,
      Catch::Predicate<lorsa::ConfigError>([](const lorsa::ConfigError& error) {
        return std::string(error.what())
            .starts_with("that (--option): 4.0 EiB of memory needed, this machine has ");
      }));
  CHECK_THROWS_AS(lorsa::check_memory(there * 1.01, c10::kCPU, "this"), lorsa::ConfigError);
}
