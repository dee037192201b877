#include "dist/job_store.h"

#include <c10/util/Exception.h>

#include <chrono>
#include <thread>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>

#include "dist/lost_ranks.h"
#include "lorsa/core/error.h"

namespace lorsa::dist {
namespace {

constexpr const char* kBegun = "begun/";
constexpr const char* kLeft = "left/";
constexpr const char* kFailure = "failure";

std::chrono::milliseconds milliseconds(double seconds) {
  return std::chrono::milliseconds(static_cast<int64_t>(seconds * 1000.0) + 1);
}

std::vector<uint8_t> bytes_of(const std::string& text) {
  return {text.begin(), text.end()};
}

std::string text_of(const std::vector<uint8_t>& bytes) {
  return {bytes.begin(), bytes.end()};
}

/// The connection of this process to its job's store. Kept for good: communicators follow each
/// other in a process, and the port of a closed server is not free at once.
c10::intrusive_ptr<c10d::Store> connect(const Rendezvous& rendezvous,
                                        const LaunchRank& rank,
                                        double timeout_s) {
  static c10::intrusive_ptr<c10d::Store> connection;
  if (connection.defined()) {
    return connection;
  }
  const bool serves = rank.rank == 0 && !rendezvous.agent_store;
  c10d::TCPStoreOptions options;
  options.port = static_cast<uint16_t>(rendezvous.port);
  options.isServer = serves;
  options.numWorkers = static_cast<size_t>(rank.world_size);
  options.waitWorkers = false;  // join() waits, and names who is missing
  options.timeout = milliseconds(timeout_s);
  try {
    connection = c10::make_intrusive<c10d::TCPStore>(rendezvous.host, options);
  } catch (const std::exception& error) {
    throw DeviceError(
        formatted("{}{}:{} (MASTER_ADDR, MASTER_PORT): {}",
                  serves ? "rank 0 cannot serve the job's store at "
                         : formatted("rank {} cannot reach the job's store at ", rank.rank),
                  rendezvous.host, rendezvous.port, first_line(error)));
  }
  return connection;
}

}  // namespace

std::string first_line(const std::exception& error) {
  const std::string text = error.what();
  return text.substr(0, text.find('\n'));
}

JobStore::JobStore(const Rendezvous& rendezvous,
                   const LaunchRank& rank,
                   int64_t group,
                   double timeout_s)
    : rank_(rank),
      timeout_s_(timeout_s),
      agent_store_(rendezvous.agent_store),
      address_(formatted("{}:{}", rendezvous.host, rendezvous.port)),
      prefix_(formatted("lorsa/{}/{}", rendezvous.job, group)),
      connection_(connect(rendezvous, rank, timeout_s)) {
  store_ = guarded("connect", [&] {
    return c10::make_intrusive<c10d::PrefixStore>(prefix_, connection_->clone());
  });
  // A store that answers at all does so at once: it has a thread of its own.
  store_->setTimeout(std::min(milliseconds(timeout_s), milliseconds(30.0)));
}

template <typename Call>
auto JobStore::guarded(const char* what, const Call& call) -> decltype(call()) {
  try {
    return call();
  } catch (const std::exception& error) {
    throw DeviceError(
        formatted("rank {}: the job's store at {}{} does not answer, {} is stopped or gone: {}: {}",
                  rank_.rank, address_, agent_store_ ? " (of torchrun's agent)" : " (of rank 0)",
                  agent_store_ ? "the agent" : "rank 0", what, first_line(error)));
  }
}

std::vector<int64_t> JobStore::missing(const std::string& prefix) {
  std::vector<int64_t> ranks;
  for (int64_t rank = 0; rank < rank_.world_size; ++rank) {
    if (!store_->check({prefix + std::to_string(rank)})) {
      ranks.push_back(rank);
    }
  }
  return ranks;
}

/// The ranks that have not set their key by the end of the time-out.
std::vector<int64_t> JobStore::wait_for_all(const std::string& prefix) {
  const auto deadline = std::chrono::steady_clock::now() + milliseconds(timeout_s_);
  std::vector<int64_t> ranks = missing(prefix);
  while (!ranks.empty() && std::chrono::steady_clock::now() < deadline) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    ranks = missing(prefix);
  }
  return ranks;
}

void JobStore::join() {
  post(0);
  const std::vector<int64_t> absent = guarded("join", [&] { return wait_for_all(kBegun); });
  LORSA_CHECK(absent.empty(), DeviceError,
              "rank {} waited {} s at the job's store {}; {} did not arrive", rank_.rank,
              timeout_s_, address_, list_ranks(absent));
}

void JobStore::post(int64_t num_begun) {
  guarded("post", [&] {
    store_->set(kBegun + std::to_string(rank_.rank), bytes_of(std::to_string(num_begun)));
  });
}

std::vector<int64_t> JobStore::begun() {
  return guarded("begun", [&] {
    std::vector<int64_t> numbers(static_cast<size_t>(rank_.world_size), RollCall::kSilent);
    for (size_t rank = 0; rank < numbers.size(); ++rank) {
      const std::string key = kBegun + std::to_string(rank);
      if (store_->check({key})) {
        numbers[rank] = std::stoll(text_of(store_->get(key)));
      }
    }
    return numbers;
  });
}

void JobStore::post_failure(const std::string& why) {
  guarded("post_failure", [&] {
    store_->compareSet(kFailure, std::vector<uint8_t>(),
                       bytes_of(formatted("rank {} has failed: {}", rank_.rank, why)));
  });
}

std::optional<std::string> JobStore::failure() {
  return guarded("failure", [&]() -> std::optional<std::string> {
    if (!store_->check({kFailure})) {
      return std::nullopt;
    }
    return text_of(store_->get(kFailure));
  });
}

void JobStore::leave() {
  guarded("leave", [&] {
    store_->set(kLeft + std::to_string(rank_.rank), bytes_of("1"));
    if (rank_.rank == 0 && !agent_store_) {
      // Those that are still there only lose their last words.
      static_cast<void>(wait_for_all(kLeft));
    }
  });
}

c10::intrusive_ptr<c10d::Store> JobStore::for_process_group() const {
  return c10::make_intrusive<c10d::PrefixStore>(prefix_ + "/nccl", connection_->clone());
}

}  // namespace lorsa::dist
