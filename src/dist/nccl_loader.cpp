#include <cstdlib>

#include "core/cuda_plugin.h"
#include "dist/backends.h"
#include "dist/nccl_backend.h"
#include "lorsa/core/error.h"

namespace lorsa::dist {
namespace {

const NcclBackend& nccl_backend() {
  return *static_cast<const NcclBackend*>(cuda_symbol("lorsa_nccl"));
}

}  // namespace

std::unique_ptr<Communicator> make_nccl(const Options& options) {
  LORSA_CHECK(
      has_cuda_driver(), DeviceError,
      "backend 'nccl' for {} needs a CUDA driver, there is none; use the device cpu with mpi",
      options.device.str());
  const auto read = [](const char* name) -> const char* { return std::getenv(name); };
  const Rendezvous rendezvous = find_rendezvous(read, options.rank.world_size);
  return nccl_backend().make(options, rendezvous);
}

void abort_nccl(int exit_code) noexcept {
  try {
    if (has_cuda_driver()) {
      nccl_backend().abort(exit_code);
    }
  } catch (const std::exception&) {
    // Without the plug-in there is no communicator and nothing to end.
  }
}

}  // namespace lorsa::dist
