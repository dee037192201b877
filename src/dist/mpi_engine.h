#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "dist/collective.h"
#include "dist/mpi_roll_call.h"
#include "dist/mpi_session.h"

namespace lorsa::dist {

/// A collective on its way through the engine.
struct MpiOperation {
  Collective collective;
  int64_t number;               ///< counted from 1
  int64_t num_chunks_left = 0;  ///< of the engine's thread
  bool done = false;            ///< guarded by the engine
};

/// The thread that makes all MPI calls of a communicator, so that operations proceed while the
/// caller computes: MPI moves data only inside its calls.
///
/// Large tensors travel in chunks. Chunks start in the order of the calls, the same on all ranks, a
/// few at a time. Between polls the thread sleeps while the caller computes and yields while it
/// waits.
class MpiEngine {
 public:
  /// Meets all ranks. Throws DeviceError if they do not come within `timeout_s`.
  explicit MpiEngine(double timeout_s);
  ~MpiEngine();
  MpiEngine(const MpiEngine&) = delete;
  MpiEngine& operator=(const MpiEngine&) = delete;

  [[nodiscard]] std::shared_ptr<MpiOperation> begin(Collective collective);
  [[nodiscard]] bool done(const MpiOperation& operation);

  /// Throws DeviceError once the time-out is over or MPI failed.
  void wait(const MpiOperation& operation);

  /// Waits for every operation that was begun.
  void wait_for_all();

  /// Ends the thread and frees the communicators; nothing may be under way.
  void close();

  /// Ends the thread only. What is under way stays so, and its tensors are never freed.
  void abandon();

  [[nodiscard]] bool failed();

 private:
  struct Chunk {
    std::shared_ptr<MpiOperation> operation;
    int64_t first = 0;  ///< element
    int64_t count = 0;
    MPI_Request request = MPI_REQUEST_NULL;
  };

  void run();
  void pause(std::unique_lock<std::mutex>& lock);
  void accept(const std::shared_ptr<MpiOperation>& operation);
  void start(Chunk& chunk);
  [[nodiscard]] std::vector<std::shared_ptr<MpiOperation>> advance();
  [[nodiscard]] std::exception_ptr lost_ranks(const MpiOperation& operation) const;
  void stop_thread();

  double timeout_s_;
  int rank_ = 0;
  MPI_Comm comm_ = MPI_COMM_NULL;

  // Of the thread.
  std::deque<Chunk> waiting_;
  std::vector<Chunk> running_;
  std::unique_ptr<MpiRollCall> roll_call_;
  int num_fruitless_polls_ = 0;

  std::mutex mutex_;
  std::condition_variable wake_;     ///< the thread: there is something to do
  std::condition_variable changed_;  ///< waiters
  // Guarded by mutex_.
  std::vector<std::shared_ptr<MpiOperation>> posted_;
  std::vector<std::shared_ptr<MpiOperation>> unfinished_;
  std::vector<int64_t> present_;  ///< the answers to the roll call, once it has ended
  int64_t num_begun_ = 0;
  int num_waiting_ = 0;
  bool roll_call_wanted_ = false;
  bool stopping_ = false;
  std::exception_ptr error_;

  std::thread thread_;
};

}  // namespace lorsa::dist
