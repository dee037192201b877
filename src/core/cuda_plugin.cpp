#include "core/cuda_plugin.h"

#include <dlfcn.h>

#include <cstdlib>
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
  LORSA_CHECK(plugin != nullptr, DeviceError, "the CUDA part cannot be loaded: {}", ::dlerror());
  return plugin;
}

/// LibTorch asks for its CUDA part once, at the first seed, autograd pass, pinned tensor or
/// convolution of a process, and remembers that there was none: what a program does before it
/// first asks lorsa for a device must find it loaded.
const struct LoadedWithTheLibrary {
  LoadedWithTheLibrary() {
    Dl_info here{};
    const bool is_plugin = ::dladdr(reinterpret_cast<const void*>(&cuda_symbol), &here) != 0 &&
                           here.dli_fname != nullptr &&
                           fs::path(here.dli_fname).filename() == kFile;
    if (!LORSA_HAS_CUDA || is_plugin || !has_cuda_driver()) {
      return;
    }
    // A plan fills nine tenths of the device: blocks of gigabytes would not fit between others.
    static_cast<void>(::setenv("PYTORCH_ALLOC_CONF", "expandable_segments:True", /*overwrite=*/0));
    try {
      static_cast<void>(cuda_symbol("lorsa_cuda_devices"));
    } catch (const Error&) {
      // The first use of a device says what is wrong.
    }
  }
} kLoadedWithTheLibrary;

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
  if (std::getenv("LORSA_ASSUME_CUDA_DRIVER") != nullptr) {
    return true;
  }
  void* driver = ::dlopen("libcuda.so.1", RTLD_LAZY | RTLD_LOCAL);
  if (driver != nullptr) {
    ::dlclose(driver);
  }
  return driver != nullptr;
}

}  // namespace lorsa
