#include "dist/mpi_session.h"

#include <array>
#include <atomic>
#include <cstdlib>

#include "lorsa/core/error.h"

namespace lorsa::dist {
namespace {

std::atomic<int> num_open{0};
std::atomic<bool> broken{false};

bool initialized() {
  int flag = 0;
  return MPI_Initialized(&flag) == MPI_SUCCESS && flag != 0;
}

bool finalized() {
  int flag = 0;
  return MPI_Finalized(&flag) == MPI_SUCCESS && flag != 0;
}

void finalize_at_exit() {
  if (!broken && num_open == 0 && !finalized()) {
    MPI_Finalize();
  }
}

void start() {
  // All calls but MPI_Abort come from one thread at a time, mostly not the main one.
  int provided = MPI_THREAD_SINGLE;
  if (initialized()) {
    check_mpi(MPI_Query_thread(&provided), "MPI_Query_thread");
  } else {
    check_mpi(MPI_Init_thread(nullptr, nullptr, MPI_THREAD_MULTIPLE, &provided), "MPI_Init_thread");
    std::atexit(finalize_at_exit);
  }
  LORSA_CHECK(provided >= MPI_THREAD_SERIALIZED, DeviceError,
              "MPI_Init_thread: expected MPI_THREAD_SERIALIZED or better, found level {}",
              provided);
}

}  // namespace

void check_mpi(int code, const char* call) {
  if (code == MPI_SUCCESS) {
    return;
  }
  std::array<char, MPI_MAX_ERROR_STRING> text{};
  int length = 0;
  MPI_Error_string(code, text.data(), &length);
  throw DeviceError(
      formatted("{}: {} ({})", call, std::string(text.data(), static_cast<size_t>(length)), code));
}

namespace mpi_session {

void open(const LaunchRank& expected) {
  LORSA_CHECK(!finalized(), DeviceError,
              "make_communicator: MPI was finalised in this process and cannot be started again");
  LORSA_CHECK(!broken, DeviceError,
              "an earlier communicator of this process has failed; start the ranks anew");
  start();
  int rank = 0;
  int size = 0;
  check_mpi(MPI_Comm_rank(MPI_COMM_WORLD, &rank), "MPI_Comm_rank");
  check_mpi(MPI_Comm_size(MPI_COMM_WORLD, &size), "MPI_Comm_size");
  LORSA_CHECK(rank == expected.rank && size == expected.world_size, ConfigError,
              "make_communicator: the environment says rank {} of {}, MPI says rank {} of {}: "
              "start the ranks with the mpirun that belongs to {}, or with srun --mpi=pmix",
              expected.rank, expected.world_size, rank, size, library_name());
  ++num_open;
}

void close() {
  --num_open;
}

void mark_broken() {
  broken = true;
}

void abort(int exit_code) noexcept {
  if ((num_open > 0 || broken) && initialized() && !finalized()) {
    MPI_Abort(MPI_COMM_WORLD, exit_code);
  }
}

std::string library_name() {
  std::array<char, MPI_MAX_LIBRARY_VERSION_STRING> text{};
  int length = 0;
  check_mpi(MPI_Get_library_version(text.data(), &length), "MPI_Get_library_version");
  const std::string name(text.data(), static_cast<size_t>(length));
  return name.substr(0, name.find_first_of(",\n"));
}

}  // namespace mpi_session
}  // namespace lorsa::dist
