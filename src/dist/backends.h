#pragma once

#include <memory>

#include "lorsa/dist/communicator.h"

// What make_communicator() chooses from. A backend that this build lacks is a file that says so.

namespace lorsa::dist {

[[nodiscard]] std::unique_ptr<Communicator> make_single(const Options& options);

[[nodiscard]] std::unique_ptr<Communicator> make_mpi(const Options& options);
void abort_mpi(int exit_code) noexcept;

[[nodiscard]] std::unique_ptr<Communicator> make_nccl(const Options& options);
void abort_nccl(int exit_code) noexcept;

}  // namespace lorsa::dist
