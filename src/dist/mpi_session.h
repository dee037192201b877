#pragma once

// Open MPI's C++ bindings are deprecated and need a library of their own.
#define OMPI_SKIP_MPICXX 1
#define MPICH_SKIP_MPICXX 1
#include <mpi.h>

#include <string>

#include "lorsa/core/launch.h"

namespace lorsa::dist {

/// Throws DeviceError with MPI's text unless `code` is MPI_SUCCESS.
void check_mpi(int code, const char* call);

/// MPI as this process uses it: started once, by the first communicator, and finalised when the
/// program exits, because it cannot be started again. Whoever started MPI before keeps that duty.
///
/// A communicator opens the session and closes it when it has finished. Where one did not finish,
/// the session is broken: MPI is not finalised, since that would wait for ranks that wait for this
/// one, and the launcher, which takes a process without finalisation as failed, ends the others.
namespace mpi_session {

/// Starts MPI unless it runs. Throws ConfigError if MPI sees other ranks than `expected`, which the
/// environment gave; DeviceError if MPI was finalised or forbids calls from a second thread.
void open(const LaunchRank& expected);

void close();
void mark_broken();

/// Ends all ranks if the session is open or broken; returns otherwise.
void abort(int exit_code) noexcept;

/// "Open MPI v4.1.4, package: ...", cut at the first comma.
[[nodiscard]] std::string library_name();

}  // namespace mpi_session
}  // namespace lorsa::dist
