#include "core/cuda_plugin.h"

#include <dlfcn.h>

#include <filesystem>

#include "lorsa/core/error.h"

namespace lorsa {
namespace {

namespace fs = std::filesystem;

constexpr const char* kFile = "liblorsa_cuda.so";

fs::path plugin_path() {
  Dl_info here{};
  LORSA_CHECK(::dladdr(reinterpret_cast<const void*>(&cuda_symbol), &here) != 0 &&
                  here.dli_fname != nullptr,
              DeviceError, "{}: cannot tell where this program lies", kFile);
  const fs::path folder = fs::absolute(here.dli_fname).parent_path();
  const fs::path beside = folder / kFile;
  const fs::path in_lib = folder.parent_path() / "lib" / kFile;
  LORSA_CHECK(fs::exists(beside) || fs::exists(in_lib), DeviceError,
              "the CUDA part of lorsa is neither {} nor {}", beside, in_lib);
  return fs::exists(beside) ? beside : in_lib;
}

void* open_plugin() {
  LORSA_CHECK(LORSA_HAS_CUDA, DeviceError,
              "this lorsa was built without CUDA; use auto or cpu, or build with LORSA_CUDA=ON");
  const fs::path path = plugin_path();
  void* plugin = ::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  LORSA_CHECK(plugin != nullptr, DeviceError, "the CUDA part of lorsa cannot be loaded: {}",
              ::dlerror());
  return plugin;
}

}  // namespace

const void* cuda_symbol(const char* name) {
  // Never closed: LibTorch's CUDA part registers itself for good.
  static void* const plugin = open_plugin();
  const void* symbol = ::dlsym(plugin, name);
  LORSA_CHECK(symbol != nullptr, DeviceError, "{} has no {}: it is of another build", kFile, name);
  return symbol;
}

const CudaDevices& cuda_devices() {
  return *static_cast<const CudaDevices*>(cuda_symbol("lorsa_cuda_devices"));
}

bool has_cuda_driver() {
  void* driver = ::dlopen("libcuda.so.1", RTLD_LAZY | RTLD_LOCAL);
  if (driver != nullptr) {
    ::dlclose(driver);
  }
  return driver != nullptr;
}

}  // namespace lorsa
