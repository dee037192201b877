#pragma once

#include <chrono>
#include <cstdint>
#include <list>
#include <vector>

#include "dist/mpi_session.h"

namespace lorsa::dist {

/// How many operations each rank has begun, asked by message: over any transport, a rank that is
/// stopped or gone does not answer, and one that is merely behind does.
///
/// All calls from the engine's thread. None blocks.
class MpiRollCall {
 public:
  explicit MpiRollCall(MPI_Comm comm);

  /// Answers the questions that have come.
  void answer(int64_t num_begun);

  /// Asks all other ranks. Once in an object's life.
  void ask();

  /// Whether all have answered or the time for it is over.
  [[nodiscard]] bool ended();

  /// RollCall::kSilent for those that have not answered.
  [[nodiscard]] std::vector<int64_t> answers() const;

 private:
  struct Sent {
    int64_t num_begun;
    MPI_Request request;
  };

  MPI_Comm comm_;
  int rank_ = 0;
  std::list<Sent> sent_;  ///< MPI reads from it
  std::vector<int64_t> answers_;
  std::vector<MPI_Request> requests_;
  std::chrono::steady_clock::time_point asked_;
};

}  // namespace lorsa::dist
