#pragma once

#include <memory>

#include "dist/rendezvous.h"
#include "lorsa/dist/communicator.h"

namespace lorsa::dist {

/// NCCL communicators; nccl.cpp, part of liblorsa_cuda.so, exports them as "lorsa_nccl".
struct NcclBackend {
  std::unique_ptr<Communicator> (*make)(const Options& options, const Rendezvous& rendezvous);
  void (*abort)(int exit_code);  ///< returns if no communicator is open
};

}  // namespace lorsa::dist
