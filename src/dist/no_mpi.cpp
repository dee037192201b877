#include "dist/backends.h"
#include "lorsa/core/error.h"

namespace lorsa::dist {

std::unique_ptr<Communicator> make_mpi(const Options& options) {
  throw DeviceError(
      formatted("rank {} of {} on the CPU: this lorsa was built without MPI; install Open MPI "
                "(libopenmpi-dev, openmpi-bin) and build with LORSA_MPI=ON",
                options.rank.rank, options.rank.world_size));
}

void abort_mpi(int /*exit_code*/) noexcept {}

}  // namespace lorsa::dist
