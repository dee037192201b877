#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <torch/csrc/distributed/c10d/Store.hpp>
#include <vector>

#include "dist/rendezvous.h"
#include "lorsa/core/launch.h"

namespace lorsa::dist {

/// The first line of a LibTorch error: behind it comes a C++ stack.
[[nodiscard]] std::string first_line(const std::exception& error);

/// The store of a job, served by rank 0 or torchrun's agent: the ranks meet in it, post how many
/// operations they have begun, and say when they leave.
///
/// One per communicator. The connection is made once a process and lives as long as it. Calls that
/// the store does not answer throw DeviceError naming it. One thread at a time.
class JobStore {
 public:
  /// Connects; rank 0 starts the server unless an agent has. `group` numbers the communicators of
  /// this process, alike on all ranks.
  JobStore(const Rendezvous& rendezvous, const LaunchRank& rank, int64_t group, double timeout_s);

  /// Returns once every rank has joined. DeviceError naming those that did not within the time-out.
  void join();

  /// Says that this rank has begun `num_begun` operations. A few microseconds; waits for no reply.
  void post(int64_t num_begun);

  /// What each rank posted last; RollCall::kSilent for one that has not joined.
  [[nodiscard]] std::vector<int64_t> begun();

  /// Tells the others that this rank has failed and takes no further part.
  void post_failure(const std::string& why);

  /// The first failure that a rank has told of.
  [[nodiscard]] std::optional<std::string> failure();

  /// Says that this rank needs the store no longer. Where rank 0 serves it, its call returns when
  /// all have said so or the time-out is over, because the server ends with the process.
  void leave();

  /// For c10d, under a prefix of its own and over a connection of its own.
  [[nodiscard]] c10::intrusive_ptr<c10d::Store> for_process_group() const;

 private:
  template <typename Call>
  auto guarded(const char* what, const Call& call) -> decltype(call());
  [[nodiscard]] std::vector<int64_t> missing(const std::string& prefix);
  [[nodiscard]] std::vector<int64_t> wait_for_all(const std::string& prefix);

  LaunchRank rank_;
  double timeout_s_;
  bool agent_store_;
  std::string address_;  ///< "host:port"
  std::string prefix_;
  c10::intrusive_ptr<c10d::Store> connection_;  ///< of the process
  c10::intrusive_ptr<c10d::Store> store_;       ///< a connection for the calls of this class
};

}  // namespace lorsa::dist
